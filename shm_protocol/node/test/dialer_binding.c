/* The addon for tests: what binding.c has, and the dialer's side of a segment, which only Python has otherwise. */
#define _GNU_SOURCE
#define NAPI_VERSION 8
#include <node_api.h>

/* The test's module has an init of its own. */
#undef NAPI_MODULE
#define NAPI_MODULE(name, function)
#include "../src/binding.c"
#undef NAPI_MODULE

/* create(name, socketFd, ringBytes, maxMessage, spinUs): make the segment and open it as the dialer. */
static napi_value create(napi_env env, napi_callback_info info)
{
    napi_value arguments[5];
    struct binding *binding = require_arguments(env, info, 5, arguments);
    if (binding == NULL)
        return NULL;
    char name[SEGMENT_NAME_BYTES + 2];
    size_t length = 0;
    uint32_t ring_bytes;
    struct shm_channel_options options;
    if (napi_get_value_string_utf8(env, arguments[0], name, sizeof name, &length) != napi_ok ||
        !is_segment_name(name, length) ||
        napi_get_value_int32(env, arguments[1], &options.socket_fd) != napi_ok ||
        napi_get_value_uint32(env, arguments[2], &ring_bytes) != napi_ok ||
        napi_get_value_uint32(env, arguments[3], &options.max_message) != napi_ok ||
        napi_get_value_int64(env, arguments[4], &options.spin_us) != napi_ok)
        return misuse(env, "create: wrong arguments");
    int64_t number = free_number(binding);
    if (number < 0)
        return integer(env, number);
    int fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return integer(env, -errno);
    int rc = -posix_fallocate(fd, 0, (off_t)shm_segment_bytes(ring_bytes));
    if (rc == 0)
        rc = shm_channel_create(&binding->channels[number], fd, ring_bytes, &options);
    close(fd);
    if (rc < 0) {
        binding->channels[number] = NULL;
        (void)shm_unlink(name);
    }
    return integer(env, rc < 0 ? rc : number);
}

/* setBusy(channel, busy) */
static napi_value set_busy(napi_env env, napi_callback_info info)
{
    napi_value arguments[2];
    struct binding *binding = require_arguments(env, info, 2, arguments);
    shm_channel *channel = binding == NULL ? NULL : require_channel(env, binding, arguments[0]);
    bool busy;
    if (channel == NULL)
        return NULL;
    if (napi_get_value_bool(env, arguments[1], &busy) != napi_ok)
        return misuse(env, "setBusy: busy is a boolean");
    shm_channel_set_busy(channel, busy);
    return NULL;
}

static napi_value init_for_tests(napi_env env, napi_value exports)
{
    struct binding *binding = NULL;
    if (init(env, exports) == NULL || napi_get_instance_data(env, (void **)&binding) != napi_ok ||
        !add_function(env, exports, "create", create, binding) ||
        !add_function(env, exports, "setBusy", set_busy, binding))
        return NULL;
    return exports;
}

NAPI_MODULE_INIT()
{
    return init_for_tests(env, exports);
}
