/* Runs a harness over inputs that were kept, and over mutations of them, where there is no fuzzer:
 *
 *   replay [--mutations N] FILE ...
 *
 * A file whose name ends in .hex has an input a line, in hexadecimal digits up to a space or `#`; any other is an input.
 * N mutations are made of each; $SEED varies them. What a finding's input was is printed as such a line. Exit code 0, or
 * the sanitizer's. */
#define _GNU_SOURCE
#include <sanitizer/common_interface_defs.h>
#include <signal.h>
#include <stdbool.h>

#include "../tests/check.h"
#include "harness.h"

#define INPUT_BYTES_MAX 65536

static uint8_t input[INPUT_BYTES_MAX];
static size_t input_bytes;
static unsigned long long executions;

/* A failed check of the harness is an abort: AddressSanitizer's report shows where. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "handle_abort=1:allocator_may_return_null=0";
}

static void print_input(void)
{
    fprintf(stderr, "the input, as a line of a corpus:\n");
    for (size_t i = 0; i < input_bytes; i++)
        fprintf(stderr, "%02x", input[i]);
    fprintf(stderr, "\n");
}

static void on_alarm(int signal)
{
    (void)signal;
    fprintf(stderr, "an execution does not end\n");
    abort();
}

static void run_once(void)
{
    /* In a block of its own size: AddressSanitizer sees a harness that reads beyond it. */
    uint8_t *copy = malloc(input_bytes + 1);
    CHECK(copy != NULL);
    memcpy(copy, input, input_bytes);
    alarm(HANG_SECONDS);
    LLVMFuzzerTestOneInput(copy, input_bytes);
    free(copy);
    executions++;
}

/* One to four small changes. */
static void mutate(uint64_t *seed)
{
    for (uint32_t changes = 1 + random_below(seed, 4); changes > 0; changes--) {
        const size_t at = input_bytes == 0 ? 0 : random_below(seed, (uint32_t)input_bytes);
        switch (input_bytes == 0 ? 0 : random_below(seed, 5)) {
        case 0:
            if (input_bytes == sizeof input)
                break;
            memmove(input + at + 1, input + at, input_bytes - at);
            input_bytes++;
            input[at] = (uint8_t)random_next(seed);
            break;
        case 1:
            memmove(input + at, input + at + 1, input_bytes - at - 1);
            input_bytes--;
            break;
        case 2:
            input[at] ^= (uint8_t)(1u << random_below(seed, 8));
            break;
        case 3:
            input[at] = (uint8_t)random_next(seed);
            break;
        case 4:
            input[at] = input[random_below(seed, (uint32_t)input_bytes)];
            break;
        }
    }
}

static void run_with_mutations(unsigned long mutations, uint64_t *seed)
{
    static uint8_t original[INPUT_BYTES_MAX];
    const size_t original_bytes = input_bytes;
    memcpy(original, input, input_bytes);
    run_once();
    while (mutations-- > 0) {
        memcpy(input, original, original_bytes);
        input_bytes = original_bytes;
        mutate(seed);
        run_once();
    }
}

static int digit(int character)
{
    const char *digits = "0123456789abcdef";
    const char *found = character == 0 ? NULL : strchr(digits, character);
    return found == NULL ? -1 : (int)(found - digits);
}

static void run_lines(FILE *file, unsigned long mutations, uint64_t *seed)
{
    char *line = NULL;
    size_t capacity = 0;
    while (getline(&line, &capacity, file) > 0) {
        if (line[0] == '#' || line[0] == '\n')
            continue;
        input_bytes = 0;
        const char *at = line;
        for (; digit(at[0]) >= 0 && digit(at[1]) >= 0 && input_bytes < sizeof input; at += 2)
            input[input_bytes++] = (uint8_t)(digit(at[0]) << 4 | digit(at[1]));
        CHECK(strchr(" #\n", *at) != NULL);
        run_with_mutations(mutations, seed);
    }
    free(line);
}

int main(int argc, char **argv)
{
    unsigned long mutations = 0;
    int first = 1;
    if (argc > 2 && strcmp(argv[1], "--mutations") == 0) {
        mutations = strtoul(argv[2], NULL, 10);
        first = 3;
    }
    if (first >= argc) {
        fprintf(stderr, "usage: %s [--mutations N] FILE ...\n", argv[0]);
        return 2;
    }
    __sanitizer_set_death_callback(print_input);
    signal(SIGALRM, on_alarm);
    uint64_t seed = random_seed();
    for (int i = first; i < argc; i++) {
        FILE *file = fopen(argv[i], "rb");
        if (file == NULL) {
            perror(argv[i]);
            return 2;
        }
        const size_t name = strlen(argv[i]);
        if (name > 4 && strcmp(argv[i] + name - 4, ".hex") == 0) {
            run_lines(file, mutations, &seed);
        } else {
            input_bytes = fread(input, 1, sizeof input, file);
            run_with_mutations(mutations, &seed);
        }
        fclose(file);
    }
    printf("%llu executions\n", executions);
    CHECK(executions > 0);
    return 0;
}
