/* The Node-API binding: shm_channel_* for JavaScript, and no policy. binding.ts describes each function.
 *
 * A channel is a small integer, an index into a table: nothing that JavaScript passes can make this code follow a wrong
 * pointer, and a number whose channel is closed is an error, not a crash. What the core answers is passed on as it is:
 * 0, a count, or a negative errno. Exceptions are for misuse only. */
#define _GNU_SOURCE
#define NAPI_VERSION 8
#include <node_api.h>

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "channel.h"
#include "memory_binding.h"

#define SEGMENT_PREFIX "/shm-polyglot-"
#define SEGMENT_DIGITS 32
#define SEGMENT_NAME_BYTES (sizeof SEGMENT_PREFIX - 1 + SEGMENT_DIGITS)

/* One for each environment (main thread or worker thread) that loads the addon. */
struct binding {
    shm_channel **channels; /* by number; NULL when closed */
    uint32_t channel_count;
    napi_ref receive_buffer; /* keeps the bytes that `received` points at alive */
    uint8_t *received;
    size_t received_capacity;
};

static napi_value integer(napi_env env, int64_t value)
{
    napi_value result = NULL;
    (void)napi_create_int64(env, value, &result);
    return result;
}

/* The usual arguments are integers: an int32 is cheaper to make than a double. */
static napi_value small_integer(napi_env env, int value)
{
    napi_value result = NULL;
    (void)napi_create_int32(env, value, &result);
    return result;
}

static napi_value misuse(napi_env env, const char *message)
{
    (void)napi_throw_type_error(env, "ERR_INVALID_ARG_VALUE", message);
    return NULL;
}

/* The binding, and exactly `count` arguments in `arguments`; NULL, with an exception, for any other number. */
static struct binding *require_arguments(napi_env env, napi_callback_info info, size_t count, napi_value *arguments)
{
    size_t given = count;
    void *data = NULL;
    if (napi_get_cb_info(env, info, &given, arguments, NULL, &data) != napi_ok || given != count) {
        (void)misuse(env, "wrong number of arguments");
        return NULL;
    }
    return data;
}

/* The open channel of that number; NULL, with an exception, where there is none. */
static shm_channel *require_channel(napi_env env, const struct binding *binding, napi_value argument)
{
    uint32_t number = UINT32_MAX;
    if (napi_get_value_uint32(env, argument, &number) != napi_ok || number >= binding->channel_count ||
        binding->channels[number] == NULL) {
        (void)napi_throw_error(env, "ERR_CHANNEL_CLOSED", "the channel is closed");
        return NULL;
    }
    return binding->channels[number];
}

/* A free number for a channel, or -ENOMEM. */
static int64_t free_number(struct binding *binding)
{
    for (uint32_t number = 0; number < binding->channel_count; number++)
        if (binding->channels[number] == NULL)
            return number;
    uint32_t count = binding->channel_count == 0 ? 8 : binding->channel_count * 2;
    shm_channel **channels = realloc(binding->channels, count * sizeof(*channels));
    if (channels == NULL)
        return -ENOMEM;
    for (uint32_t number = binding->channel_count; number < count; number++)
        channels[number] = NULL;
    int64_t number = binding->channel_count;
    binding->channels = channels;
    binding->channel_count = count;
    return number;
}

static bool is_segment_name(const char *name, size_t length)
{
    if (length != SEGMENT_NAME_BYTES || strncmp(name, SEGMENT_PREFIX, sizeof SEGMENT_PREFIX - 1) != 0)
        return false;
    return strspn(name + sizeof SEGMENT_PREFIX - 1, "0123456789abcdef") == SEGMENT_DIGITS;
}

/* Open the dialer's segment, and unlink its name once it is known to be good. The channel, or a negative errno. */
static int attach_segment(const char *name, const struct shm_channel_options *options, shm_channel **channel)
{
    int fd = shm_open(name, O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0);
    if (fd < 0)
        return -errno;
    struct stat status;
    int rc;
    if (fstat(fd, &status) != 0)
        rc = -errno;
    else if (status.st_uid != geteuid())
        rc = -EPERM;
    else
        rc = shm_channel_attach(channel, fd, options);
    /* The dialer unlinks it too: that it is gone already is fine. */
    if (rc == 0)
        (void)shm_unlink(name);
    close(fd);
    return rc;
}

static napi_value attach(napi_env env, napi_callback_info info)
{
    napi_value arguments[4];
    struct binding *binding = require_arguments(env, info, 4, arguments);
    if (binding == NULL)
        return NULL;
    char name[SEGMENT_NAME_BYTES + 2];
    size_t length = 0;
    struct shm_channel_options options;
    if (napi_get_value_string_utf8(env, arguments[0], name, sizeof name, &length) != napi_ok ||
        !is_segment_name(name, length))
        return misuse(env, "attach: not the name of a segment");
    if (napi_get_value_int32(env, arguments[1], &options.socket_fd) != napi_ok ||
        napi_get_value_uint32(env, arguments[2], &options.max_message) != napi_ok ||
        napi_get_value_int64(env, arguments[3], &options.spin_us) != napi_ok)
        return misuse(env, "attach: socket, max_message and spin must be numbers");
    int64_t number = free_number(binding);
    if (number < 0)
        return integer(env, number);
    int rc = attach_segment(name, &options, &binding->channels[number]);
    if (rc < 0)
        binding->channels[number] = NULL;
    return integer(env, rc < 0 ? rc : number);
}

/* A dialer locks its segment's file until its handshake has ended, however it ends. */
static napi_value is_segment_held(napi_env env, napi_callback_info info)
{
    napi_value argument;
    if (require_arguments(env, info, 1, &argument) == NULL)
        return NULL;
    char name[SEGMENT_NAME_BYTES + 2];
    size_t length = 0;
    if (napi_get_value_string_utf8(env, argument, name, sizeof name, &length) != napi_ok ||
        !is_segment_name(name, length))
        return misuse(env, "isSegmentHeld: not the name of a segment");
    int fd = shm_open(name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW, 0);
    if (fd < 0)
        return integer(env, -errno);
    int rc = flock(fd, LOCK_EX | LOCK_NB) == 0 ? 0 : errno == EWOULDBLOCK ? 1 : -errno;
    close(fd);
    return integer(env, rc);
}

/* SO_PEERCRED of the descriptor that is the one argument: 0, -errno, or 1 where an exception is pending. */
static int peer_credentials(napi_env env, napi_callback_info info, const char *complaint, struct ucred *credentials)
{
    napi_value argument;
    int fd;
    if (require_arguments(env, info, 1, &argument) == NULL)
        return 1;
    if (napi_get_value_int32(env, argument, &fd) != napi_ok) {
        (void)misuse(env, complaint);
        return 1;
    }
    socklen_t size = sizeof *credentials;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, credentials, &size) != 0 ? -errno : 0;
}

static napi_value peer_uid(napi_env env, napi_callback_info info)
{
    struct ucred credentials;
    int rc = peer_credentials(env, info, "peerUid: a file descriptor is a number", &credentials);
    if (rc > 0)
        return NULL;
    return integer(env, rc < 0 ? rc : (int64_t)credentials.uid);
}

static napi_value peer_pid(napi_env env, napi_callback_info info)
{
    struct ucred credentials;
    int rc = peer_credentials(env, info, "peerPid: a file descriptor is a number", &credentials);
    if (rc > 0)
        return NULL;
    return integer(env, rc < 0 ? rc : (int64_t)credentials.pid);
}

static napi_value set_receive_buffer(napi_env env, napi_callback_info info)
{
    napi_value argument;
    struct binding *binding = require_arguments(env, info, 1, &argument);
    if (binding == NULL)
        return NULL;
    void *bytes = NULL;
    size_t capacity = 0;
    bool is_buffer = false;
    napi_ref reference = NULL;
    if (napi_is_buffer(env, argument, &is_buffer) != napi_ok || !is_buffer ||
        napi_get_buffer_info(env, argument, &bytes, &capacity) != napi_ok ||
        napi_create_reference(env, argument, 1, &reference) != napi_ok)
        return misuse(env, "setReceiveBuffer: a Buffer is needed");
    if (binding->receive_buffer != NULL)
        (void)napi_delete_reference(env, binding->receive_buffer);
    binding->receive_buffer = reference;
    binding->received = bytes;
    binding->received_capacity = capacity;
    return NULL;
}

static napi_value send_message(napi_env env, napi_callback_info info)
{
    napi_value arguments[3];
    struct binding *binding = require_arguments(env, info, 3, arguments);
    shm_channel *channel = binding == NULL ? NULL : require_channel(env, binding, arguments[0]);
    if (channel == NULL)
        return NULL;
    void *bytes = NULL;
    size_t capacity = 0;
    uint32_t length;
    if (napi_get_buffer_info(env, arguments[1], &bytes, &capacity) != napi_ok ||
        napi_get_value_uint32(env, arguments[2], &length) != napi_ok || length > capacity)
        return misuse(env, "send: a Buffer and a length within it are needed");
    return small_integer(env, shm_channel_send(channel, bytes, length));
}

static napi_value receive(napi_env env, napi_callback_info info)
{
    napi_value arguments[2];
    struct binding *binding = require_arguments(env, info, 2, arguments);
    shm_channel *channel = binding == NULL ? NULL : require_channel(env, binding, arguments[0]);
    if (channel == NULL)
        return NULL;
    uint32_t poll_ns;
    if (napi_get_value_uint32(env, arguments[1], &poll_ns) != napi_ok)
        return misuse(env, "receive: nanoseconds are a number");
    int rc = poll_ns == 0 ? 1 : shm_channel_poll(channel, poll_ns);
    if (rc == 1) {
        const uint8_t *message;
        size_t length;
        rc = shm_channel_peek(channel, &message, &length);
        if (rc == 1) {
            if (length > binding->received_capacity)
                return small_integer(env, -EOVERFLOW);
            if (length > 0)
                memcpy(binding->received, message, length);
            shm_channel_consume(channel);
            return small_integer(env, (int)length);
        }
    }
    return small_integer(env, rc == 0 ? -ENODATA : rc);
}

static napi_value large_bytes(napi_env env, napi_callback_info info)
{
    napi_value argument;
    struct binding *binding = require_arguments(env, info, 1, &argument);
    shm_channel *channel = binding == NULL ? NULL : require_channel(env, binding, argument);
    if (channel == NULL)
        return NULL;
    const uint8_t *message;
    size_t length;
    int rc = shm_channel_peek(channel, &message, &length);
    return rc == 1 ? integer(env, (int64_t)length) : small_integer(env, rc == 0 ? -ENODATA : rc);
}

static napi_value receive_large(napi_env env, napi_callback_info info)
{
    napi_value argument;
    struct binding *binding = require_arguments(env, info, 1, &argument);
    shm_channel *channel = binding == NULL ? NULL : require_channel(env, binding, argument);
    if (channel == NULL)
        return NULL;
    const uint8_t *message;
    size_t length;
    int rc = shm_channel_peek(channel, &message, &length);
    if (rc != 1)
        return small_integer(env, rc == 0 ? -ENODATA : rc);
    napi_value buffer = NULL;
    if (napi_create_buffer_copy(env, length, message, NULL, &buffer) != napi_ok)
        return small_integer(env, -ENOMEM);
    shm_channel_consume(channel);
    return buffer;
}

static napi_value set_max_message(napi_env env, napi_callback_info info)
{
    napi_value arguments[2];
    struct binding *binding = require_arguments(env, info, 2, arguments);
    shm_channel *channel = binding == NULL ? NULL : require_channel(env, binding, arguments[0]);
    if (channel == NULL)
        return NULL;
    uint32_t max_message;
    if (napi_get_value_uint32(env, arguments[1], &max_message) != napi_ok)
        return misuse(env, "setMaxMessage: bytes are a number");
    shm_channel_set_max_message(channel, max_message);
    return NULL;
}

static napi_value unpark(napi_env env, napi_callback_info info)
{
    napi_value argument;
    struct binding *binding = require_arguments(env, info, 1, &argument);
    shm_channel *channel = binding == NULL ? NULL : require_channel(env, binding, argument);
    if (channel != NULL)
        shm_channel_unpark(channel);
    return NULL;
}

static napi_value peer_state(napi_env env, napi_callback_info info)
{
    napi_value argument;
    struct binding *binding = require_arguments(env, info, 1, &argument);
    shm_channel *channel = binding == NULL ? NULL : require_channel(env, binding, argument);
    return channel == NULL ? NULL : integer(env, shm_channel_peer_state(channel));
}

static napi_value stats(napi_env env, napi_callback_info info)
{
    napi_value argument;
    struct binding *binding = require_arguments(env, info, 1, &argument);
    shm_channel *channel = binding == NULL ? NULL : require_channel(env, binding, argument);
    if (channel == NULL)
        return NULL;
    struct shm_channel_stats now;
    shm_channel_get_stats(channel, &now);
    const struct {
        const char *name;
        uint64_t value;
    } fields[] = {
        {"messagesSent", now.messages_sent}, {"messagesReceived", now.messages_received},
        {"bytesSent", now.bytes_sent},       {"bytesReceived", now.bytes_received},
        {"doorbellsRung", now.doorbells_rung}, {"parks", now.parks},
        {"spinBudgetNs", now.spin_budget_ns},
    };
    napi_value result = NULL;
    if (napi_create_object(env, &result) != napi_ok)
        return NULL;
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        (void)napi_set_named_property(env, result, fields[i].name, integer(env, (int64_t)fields[i].value));
    return result;
}

static napi_value count_call(napi_env env, napi_callback_info info)
{
    napi_value arguments[3];
    struct binding *binding = require_arguments(env, info, 3, arguments);
    shm_channel *channel = binding == NULL ? NULL : require_channel(env, binding, arguments[0]);
    if (channel == NULL)
        return NULL;
    double ms;
    bool failed;
    if (napi_get_value_double(env, arguments[1], &ms) != napi_ok || !(ms >= 0 && ms < 1e12) ||
        napi_get_value_bool(env, arguments[2], &failed) != napi_ok)
        return misuse(env, "countCall: milliseconds from 0, and whether it failed, are needed");
    shm_channel_count_call(channel, (uint64_t)(ms * 1e6), failed);
    return NULL;
}

/* In the order of COUNTER_NAMES in counters.ts. */
#define COUNTERS_PER_SIDE (11 + SHM_LATENCY_BUCKETS)

static void put_counters(double *into, const struct shm_channel_stats *stats)
{
    const double first[] = {
        (double)stats->messages_sent,  (double)stats->messages_received, (double)stats->bytes_sent,
        (double)stats->bytes_received, (double)stats->doorbells_rung,    (double)stats->parks,
        (double)stats->spin_budget_ns, (double)stats->ring_bytes,        (double)stats->ring_used,
        (double)stats->state,          (double)stats->calls_failed,
    };
    _Static_assert(sizeof first / sizeof *first + SHM_LATENCY_BUCKETS == COUNTERS_PER_SIDE, "all of them");
    memcpy(into, first, sizeof first);
    for (unsigned bucket = 0; bucket < SHM_LATENCY_BUCKETS; bucket++)
        into[sizeof first / sizeof *first + bucket] = (double)stats->latency[bucket];
}

static napi_value read_counters(napi_env env, napi_callback_info info)
{
    napi_value arguments[2];
    struct binding *binding = require_arguments(env, info, 2, arguments);
    shm_channel *channel = binding == NULL ? NULL : require_channel(env, binding, arguments[0]);
    if (channel == NULL)
        return NULL;
    napi_typedarray_type type;
    size_t length = 0;
    void *into = NULL;
    if (napi_get_typedarray_info(env, arguments[1], &type, &length, &into, NULL, NULL) != napi_ok ||
        type != napi_float64_array || length != 2 * COUNTERS_PER_SIDE)
        return misuse(env, "readCounters: a Float64Array for the counters of both sides is needed");
    struct shm_channel_stats side;
    shm_channel_get_peer_stats(channel, &side);
    put_counters(into, &side);
    shm_channel_get_stats(channel, &side);
    put_counters((double *)into + COUNTERS_PER_SIDE, &side);
    return NULL;
}

static napi_value close_channel(napi_env env, napi_callback_info info)
{
    napi_value argument;
    struct binding *binding = require_arguments(env, info, 1, &argument);
    shm_channel *channel = binding == NULL ? NULL : require_channel(env, binding, argument);
    if (channel == NULL)
        return NULL;
    uint32_t number = 0;
    (void)napi_get_value_uint32(env, argument, &number);
    binding->channels[number] = NULL;
    shm_channel_close(channel);
    return NULL;
}

static void finalize(napi_env env, void *data, void *hint)
{
    (void)env;
    (void)hint;
    struct binding *binding = data;
    for (uint32_t number = 0; number < binding->channel_count; number++)
        shm_channel_close(binding->channels[number]);
    free(binding->channels);
    free(binding);
}

static bool add_function(napi_env env, napi_value exports, const char *name, napi_callback callback, struct binding *binding)
{
    napi_value function;
    return napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, binding, &function) == napi_ok &&
           napi_set_named_property(env, exports, name, function) == napi_ok;
}

static napi_value init(napi_env env, napi_value exports)
{
    struct binding *binding = calloc(1, sizeof *binding);
    if (binding == NULL || napi_set_instance_data(env, binding, finalize, NULL) != napi_ok) {
        free(binding);
        (void)napi_throw_error(env, NULL, "no memory for the binding");
        return NULL;
    }
    const struct {
        const char *name;
        napi_callback function;
    } functions[] = {
        {"attach", attach},
        {"isSegmentHeld", is_segment_held},
        {"peerUid", peer_uid},
        {"peerPid", peer_pid},
        {"setReceiveBuffer", set_receive_buffer},
        {"send", send_message},
        {"receive", receive},
        {"largeBytes", large_bytes},
        {"receiveLarge", receive_large},
        {"setMaxMessage", set_max_message},
        {"unpark", unpark},
        {"peerState", peer_state},
        {"stats", stats},
        {"countCall", count_call},
        {"readCounters", read_counters},
        {"close", close_channel},
    };
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        if (!add_function(env, exports, functions[i].name, functions[i].function, binding))
            return NULL; /* with the exception that is pending */
    return add_memory_functions(env, exports) ? exports : NULL;
}

NAPI_MODULE(NODE_GYP_MODULE_NAME, init)
