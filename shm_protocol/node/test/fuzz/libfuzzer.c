/* libFuzzer as an addon of Node: it calls a JavaScript function with inputs, and reads the counters that run.mjs has put
 * into the library's code. (The prebuilt Jazzer.js needs a newer C library than Debian 12 has.) */
#define _GNU_SOURCE
#define NAPI_VERSION 8
#include <node_api.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define COUNTERS 65536
#define ARGUMENTS_MAX 64

int LLVMFuzzerRunDriver(int *argc, char ***argv, int (*run)(const uint8_t *data, size_t size));
void __sanitizer_cov_8bit_counters_init(uint8_t *start, uint8_t *stop);
void __sanitizer_cov_pcs_init(const uintptr_t *start, const uintptr_t *stop);

static uint8_t counters[COUNTERS];
static uintptr_t places[COUNTERS][2]; /* an address and flags: libFuzzer wants them to be different, no more */

static napi_env env;
static napi_value check;

static void must(napi_status status)
{
    if (status == napi_ok)
        return;
    fprintf(stderr, "Node-API says %d\n", (int)status);
    abort();
}

/* A finding: libFuzzer keeps the input of an abort. */
static void report_exception(void)
{
    napi_value error, stack;
    char text[4096] = "";
    must(napi_get_and_clear_last_exception(env, &error));
    if (napi_get_named_property(env, error, "stack", &stack) == napi_ok)
        (void)napi_get_value_string_utf8(env, stack, text, sizeof text, NULL);
    fprintf(stderr, "uncaught: %s\n", text);
    abort();
}

static int run_once(const uint8_t *data, size_t size)
{
    napi_handle_scope scope;
    napi_value global, input;
    must(napi_open_handle_scope(env, &scope));
    must(napi_get_global(env, &global));
    must(napi_create_buffer_copy(env, size, data, NULL, &input));
    napi_status status = napi_call_function(env, global, check, 1, &input, NULL);
    if (status == napi_pending_exception)
        report_exception();
    must(status);
    must(napi_close_handle_scope(env, scope));
    return 0;
}

/* libFuzzer leaves by exit, below which Node's own handlers would find JavaScript still running. */
static void leave(int status, void *unused)
{
    (void)unused;
    fflush(NULL);
    _Exit(status);
}

/* fuzz(check, arguments, counters in use) */
static napi_value fuzz(napi_env environment, napi_callback_info info)
{
    napi_value given[3];
    size_t count = 3;
    uint32_t length, used;
    char *arguments[ARGUMENTS_MAX + 1] = {NULL};
    env = environment;
    must(napi_get_cb_info(env, info, &count, given, NULL, NULL));
    check = given[0];
    must(napi_get_array_length(env, given[1], &length));
    must(napi_get_value_uint32(env, given[2], &used));
    if (length > ARGUMENTS_MAX || used > COUNTERS)
        must(napi_invalid_arg);
    for (uint32_t i = 0; i < length; i++) {
        napi_value argument;
        size_t bytes;
        must(napi_get_element(env, given[1], i, &argument));
        must(napi_get_value_string_utf8(env, argument, NULL, 0, &bytes));
        arguments[i] = malloc(bytes + 1);
        if (arguments[i] == NULL)
            abort();
        must(napi_get_value_string_utf8(env, argument, arguments[i], bytes + 1, NULL));
    }
    for (uintptr_t i = 0; i < used; i++)
        places[i][0] = i + 1;
    __sanitizer_cov_8bit_counters_init(counters, counters + used);
    __sanitizer_cov_pcs_init(places[0], places[used]);
    /* Node has a handler of its own, to which libFuzzer would leave the signal. */
    signal(SIGINT, SIG_DFL);
    on_exit(leave, NULL);
    int argument_count = (int)length;
    char **argument_list = arguments;
    exit(LLVMFuzzerRunDriver(&argument_count, &argument_list, run_once));
}

static napi_value initialise(napi_env environment, napi_value exports)
{
    napi_value memory, function;
    must(napi_create_external_arraybuffer(environment, counters, sizeof counters, NULL, NULL, &memory));
    must(napi_set_named_property(environment, exports, "counters", memory));
    must(napi_create_function(environment, "fuzz", NAPI_AUTO_LENGTH, fuzz, NULL, &function));
    must(napi_set_named_property(environment, exports, "fuzz", function));
    return exports;
}

NAPI_MODULE(NODE_GYP_MODULE_NAME, initialise)
