/* Memory that is shared by its descriptor, for JavaScript, and no policy: pool.ts says what is used again, buffers.ts what
 * is handed over. binding.ts describes each function.
 *
 * Memory of this process's own is a small integer, an index into a table, as a channel is; a peer's is the descriptor, and
 * what of it is mapped an ArrayBuffer, unmapped when V8 lets go of that. */
#define _GNU_SOURCE
#define NAPI_VERSION 8
#include "memory_binding.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "descriptors.h"
#include "memory.h"

/* Integers of JavaScript's that are exact. */
#define MAX_SAFE 9007199254740991.0

/* Memory of this process's own. It goes with the last who uses it: the table, and each ArrayBuffer over it. */
struct own_memory {
    unsigned users;
    int fd;
    uint8_t *bytes;
    size_t size;
};

/* One for each environment that loads the addon. */
struct memories {
    struct own_memory **slots; /* NULL where free */
    uint32_t slot_count;
};

/* A part of a peer's memory that is mapped, or that is to be copied. */
struct part {
    uint8_t *bytes;
    size_t size;
    int64_t uncounted; /* bytes that V8 counts for the ArrayBuffer, but is told are none of this process's own */
};

static napi_value integer(napi_env env, int64_t value)
{
    napi_value result = NULL;
    (void)napi_create_int64(env, value, &result);
    return result;
}

static napi_value misuse(napi_env env, const char *message)
{
    (void)napi_throw_type_error(env, "ERR_INVALID_ARG_VALUE", message);
    return NULL;
}

static struct memories *require_arguments(napi_env env, napi_callback_info info, size_t count, napi_value *arguments)
{
    size_t given = count;
    void *data = NULL;
    if (napi_get_cb_info(env, info, &given, arguments, NULL, &data) != napi_ok || given != count) {
        (void)misuse(env, "wrong number of arguments");
        return NULL;
    }
    return data;
}

static bool get_size(napi_env env, napi_value argument, uint64_t *size)
{
    double number;
    if (napi_get_value_double(env, argument, &number) != napi_ok || !(number >= 0 && number <= MAX_SAFE))
        return false;
    *size = (uint64_t)number;
    return (double)*size == number;
}

/* The bytes of a typed array. */
static bool get_bytes(napi_env env, napi_value argument, uint8_t **bytes, size_t *size)
{
    bool is_one = false;
    napi_typedarray_type type;
    void *data = NULL;
    return napi_is_typedarray(env, argument, &is_one) == napi_ok && is_one &&
           napi_get_typedarray_info(env, argument, &type, size, &data, NULL, NULL) == napi_ok &&
           type == napi_uint8_array && (*bytes = data, true);
}

static struct own_memory *require_memory(napi_env env, struct memories *memories, napi_value argument, uint32_t *slot)
{
    if (napi_get_value_uint32(env, argument, slot) != napi_ok || *slot >= memories->slot_count ||
        memories->slots[*slot] == NULL) {
        (void)napi_throw_error(env, "ERR_MEMORY_CLOSED", "there is no such memory");
        return NULL;
    }
    return memories->slots[*slot];
}

static void leave(struct own_memory *memory)
{
    if (--memory->users > 0)
        return;
    shm_memory_unmap(memory->bytes, memory->size);
    close(memory->fd);
    free(memory);
}

static int64_t free_slot(struct memories *memories)
{
    for (uint32_t slot = 0; slot < memories->slot_count; slot++)
        if (memories->slots[slot] == NULL)
            return slot;
    const uint32_t count = memories->slot_count == 0 ? 8 : memories->slot_count * 2;
    struct own_memory **slots = realloc(memories->slots, count * sizeof *slots);
    if (slots == NULL)
        return -ENOMEM;
    for (uint32_t slot = memories->slot_count; slot < count; slot++)
        slots[slot] = NULL;
    const int64_t slot = memories->slot_count;
    memories->slots = slots;
    memories->slot_count = count;
    return slot;
}

static napi_value create_memory(napi_env env, napi_callback_info info)
{
    napi_value argument;
    uint64_t size;
    struct memories *memories = require_arguments(env, info, 1, &argument);
    if (memories == NULL)
        return NULL;
    if (!get_size(env, argument, &size))
        return misuse(env, "createMemory: bytes are a number");
    const int64_t slot = free_slot(memories);
    struct own_memory *memory = slot < 0 ? NULL : malloc(sizeof *memory);
    if (memory == NULL)
        return integer(env, -ENOMEM);
    const int rc = shm_memory_create((size_t)size, &memory->fd, &memory->bytes);
    if (rc < 0) {
        free(memory);
        return integer(env, rc);
    }
    memory->users = 1;
    memory->size = (size_t)size;
    memories->slots[slot] = memory;
    return integer(env, slot);
}

static napi_value close_memory(napi_env env, napi_callback_info info)
{
    napi_value argument;
    uint32_t slot;
    struct memories *memories = require_arguments(env, info, 1, &argument);
    struct own_memory *memory = memories == NULL ? NULL : require_memory(env, memories, argument, &slot);
    if (memory == NULL)
        return NULL;
    memories->slots[slot] = NULL;
    leave(memory);
    return NULL;
}

static napi_value fill_memory(napi_env env, napi_callback_info info)
{
    napi_value arguments[2];
    uint32_t slot;
    struct memories *memories = require_arguments(env, info, 2, arguments);
    struct own_memory *memory = memories == NULL ? NULL : require_memory(env, memories, arguments[0], &slot);
    if (memory == NULL)
        return NULL;
    uint8_t *bytes;
    size_t size;
    if (!get_bytes(env, arguments[1], &bytes, &size) || size > memory->size)
        return misuse(env, "fillMemory: a Uint8Array that fits is needed");
    if (size > 0)
        memcpy(memory->bytes, bytes, size);
    return NULL;
}

static void own_buffer_gone(napi_env env, void *data, void *hint)
{
    (void)env;
    (void)data;
    leave(hint);
}

static napi_value memory_buffer(napi_env env, napi_callback_info info)
{
    napi_value arguments[2];
    uint32_t slot;
    uint64_t size;
    struct memories *memories = require_arguments(env, info, 2, arguments);
    struct own_memory *memory = memories == NULL ? NULL : require_memory(env, memories, arguments[0], &slot);
    if (memory == NULL)
        return NULL;
    if (!get_size(env, arguments[1], &size) || size > memory->size)
        return misuse(env, "memoryBuffer: bytes within the memory are needed");
    napi_value buffer = NULL;
    if (napi_create_external_arraybuffer(env, memory->bytes, (size_t)size, own_buffer_gone, memory, &buffer) != napi_ok)
        return integer(env, -ENOTSUP);
    memory->users++;
    return buffer;
}

static napi_value send_descriptor(napi_env env, napi_callback_info info)
{
    napi_value arguments[3];
    uint32_t slot;
    int32_t socket_fd;
    uint64_t number;
    struct memories *memories = require_arguments(env, info, 3, arguments);
    struct own_memory *memory = memories == NULL ? NULL : require_memory(env, memories, arguments[1], &slot);
    if (memory == NULL)
        return NULL;
    if (napi_get_value_int32(env, arguments[0], &socket_fd) != napi_ok || !get_size(env, arguments[2], &number))
        return misuse(env, "sendDescriptor: a socket and a number are needed");
    return integer(env, shm_descriptor_send(socket_fd, number, memory->fd));
}

static napi_value receive_descriptor(napi_env env, napi_callback_info info)
{
    napi_value arguments[2];
    int32_t socket_fd;
    if (require_arguments(env, info, 2, arguments) == NULL)
        return NULL;
    napi_typedarray_type type;
    size_t length = 0;
    void *into = NULL;
    if (napi_get_value_int32(env, arguments[0], &socket_fd) != napi_ok ||
        napi_get_typedarray_info(env, arguments[1], &type, &length, &into, NULL, NULL) != napi_ok ||
        type != napi_float64_array || length < 3)
        return misuse(env, "receiveDescriptor: a socket and a Float64Array of 3 are needed");
    uint64_t number, bytes = 0;
    int fd = -1;
    int rc = shm_descriptor_receive(socket_fd, &number, &fd);
    if (rc != 1)
        return integer(env, rc);
    rc = shm_memory_check(fd, &bytes);
    if (rc == 0 && ((double)number > MAX_SAFE || (double)bytes > MAX_SAFE))
        rc = -EPROTO;
    if (rc < 0) {
        close(fd);
        return integer(env, rc);
    }
    const double told[] = {(double)number, (double)fd, (double)bytes};
    memcpy(into, told, sizeof told);
    return integer(env, 1);
}

static void part_gone(napi_env env, void *data, void *hint)
{
    (void)data;
    struct part *part = hint;
    int64_t now;
    (void)napi_adjust_external_memory(env, part->uncounted, &now);
    shm_memory_unmap(part->bytes, part->size);
    free(part);
}

/* Where the engine has no ArrayBuffers over memory of others, as in Electron. */
static napi_value copied(napi_env env, const struct part *part)
{
    void *bytes = NULL;
    napi_value buffer = NULL;
    if (napi_create_arraybuffer(env, part->size, &bytes, &buffer) != napi_ok)
        return integer(env, -ENOMEM);
    memcpy(bytes, part->bytes, part->size);
    return buffer;
}

static napi_value map_part(napi_env env, napi_callback_info info)
{
    napi_value arguments[4];
    int32_t fd;
    uint64_t offset, size, counted;
    if (require_arguments(env, info, 4, arguments) == NULL)
        return NULL;
    if (napi_get_value_int32(env, arguments[0], &fd) != napi_ok || !get_size(env, arguments[1], &offset) ||
        !get_size(env, arguments[2], &size) || !get_size(env, arguments[3], &counted) || counted > size)
        return misuse(env, "mapPart: a descriptor, an offset, bytes, and how many of them to count are needed");
    struct part *part = malloc(sizeof *part);
    if (part == NULL)
        return integer(env, -ENOMEM);
    part->size = (size_t)size;
    part->uncounted = (int64_t)(size - counted);
    const int rc = shm_memory_map(fd, offset, part->size, SHM_MEMORY_PRIVATE, &part->bytes);
    if (rc < 0) {
        free(part);
        return integer(env, rc);
    }
    /* V8 is about to count all of it, and would begin to collect at once. */
    int64_t now;
    (void)napi_adjust_external_memory(env, -part->uncounted, &now);
    napi_value buffer = NULL;
    if (napi_create_external_arraybuffer(env, part->bytes, part->size, part_gone, part, &buffer) == napi_ok)
        return buffer;
    (void)napi_adjust_external_memory(env, part->uncounted, &now);
    buffer = copied(env, part);
    shm_memory_unmap(part->bytes, part->size);
    free(part);
    return buffer;
}

static napi_value detach(napi_env env, napi_callback_info info)
{
    napi_value argument;
    if (require_arguments(env, info, 1, &argument) == NULL)
        return NULL;
    if (napi_detach_arraybuffer(env, argument) != napi_ok)
        return misuse(env, "detach: an ArrayBuffer that can be detached is needed");
    return NULL;
}

static napi_value take_socket(napi_env env, napi_callback_info info)
{
    napi_value argument;
    int32_t fd;
    if (require_arguments(env, info, 1, &argument) == NULL)
        return NULL;
    if (napi_get_value_int32(env, argument, &fd) != napi_ok)
        return misuse(env, "takeSocket: a file descriptor is a number");
    const int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    return integer(env, own < 0 ? -errno : own);
}

static napi_value write_socket(napi_env env, napi_callback_info info)
{
    napi_value arguments[2];
    int32_t fd;
    uint8_t *bytes;
    size_t size;
    if (require_arguments(env, info, 2, arguments) == NULL)
        return NULL;
    if (napi_get_value_int32(env, arguments[0], &fd) != napi_ok || !get_bytes(env, arguments[1], &bytes, &size))
        return misuse(env, "writeSocket: a socket and a Uint8Array are needed");
    const ssize_t sent = send(fd, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    return integer(env, sent < 0 ? -errno : sent == (ssize_t)size ? 0 : -EAGAIN);
}

static napi_value close_descriptor(napi_env env, napi_callback_info info)
{
    napi_value argument;
    int32_t fd;
    if (require_arguments(env, info, 1, &argument) == NULL)
        return NULL;
    if (napi_get_value_int32(env, argument, &fd) != napi_ok || fd < 0)
        return misuse(env, "closeDescriptor: a file descriptor is a number from 0");
    close(fd);
    return NULL;
}

static void environment_ends(void *data)
{
    struct memories *memories = data;
    for (uint32_t slot = 0; slot < memories->slot_count; slot++)
        if (memories->slots[slot] != NULL)
            leave(memories->slots[slot]);
    free(memories->slots);
    free(memories);
}

bool add_memory_functions(napi_env env, napi_value exports)
{
    struct memories *memories = calloc(1, sizeof *memories);
    if (memories == NULL || napi_add_env_cleanup_hook(env, environment_ends, memories) != napi_ok) {
        free(memories);
        (void)napi_throw_error(env, NULL, "no memory for the binding");
        return false;
    }
    const struct {
        const char *name;
        napi_callback function;
    } functions[] = {
        {"createMemory", create_memory},     {"closeMemory", close_memory},
        {"fillMemory", fill_memory},         {"memoryBuffer", memory_buffer},
        {"sendDescriptor", send_descriptor}, {"receiveDescriptor", receive_descriptor},
        {"mapPart", map_part},               {"detach", detach},
        {"takeSocket", take_socket},         {"writeSocket", write_socket},
        {"closeDescriptor", close_descriptor},
    };
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        napi_value function;
        if (napi_create_function(env, functions[i].name, NAPI_AUTO_LENGTH, functions[i].function, memories, &function) !=
                napi_ok ||
            napi_set_named_property(env, exports, functions[i].name, function) != napi_ok)
            return false;
    }
    return true;
}
