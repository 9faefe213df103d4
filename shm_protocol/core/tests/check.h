/* What every test uses: checks that say where, what and with which values, and end the test with exit code 1. */
#ifndef CHECK_H
#define CHECK_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A hang guard, not an expectation: past it, SIGALRM ends the test. */
#define HANG_SECONDS 120

static const char *check_running = "main";

/* Runs a test function, whose name is a sentence about behaviour. */
#define RUN(test)                                                                                                      \
    do {                                                                                                               \
        check_running = #test;                                                                                         \
        alarm(HANG_SECONDS);                                                                                           \
        test();                                                                                                        \
    } while (0)

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: %s: not so: %s\n", __FILE__, __LINE__, check_running, #condition);                 \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

/* For integers of any type. */
#define CHECK_EQUAL(actual, expected)                                                                                  \
    check_equal(__FILE__, __LINE__, #actual, (long long)(actual), #expected, (long long)(expected))

static inline void check_equal(const char *file, int line, const char *actual_text, long long actual,
                               const char *expected_text, long long expected)
{
    if (actual == expected)
        return;
    fprintf(stderr, "%s:%d: %s: %s is %lld (%#llx), not %s, which is %lld (%#llx)\n", file, line, check_running,
            actual_text, actual, (unsigned long long)actual, expected_text, expected, (unsigned long long)expected);
    exit(1);
}

/* splitmix64 (Sebastiano Vigna, public domain): repeatable from its seed. */
static inline uint64_t random_next(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static inline uint32_t random_below(uint64_t *state, uint32_t limit)
{
    return (uint32_t)(random_next(state) % limit);
}

/* $SEED, or a fixed one; printed, so that a failure can be repeated. */
static inline uint64_t random_seed(void)
{
    const char *text = getenv("SEED");
    uint64_t seed = text != NULL ? strtoull(text, NULL, 0) : UINT64_C(20240229);
    fprintf(stderr, "SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

/* Bytes that are different for each seed and each position: a shifted, mixed-up or stale payload does not match. */
static inline void pattern_fill(void *at, size_t length, uint64_t seed)
{
    uint8_t *bytes = at;
    size_t i = 0;
    for (; i + 8 <= length; i += 8) {
        uint64_t word = random_next(&seed);
        memcpy(bytes + i, &word, 8);
    }
    if (i < length) {
        uint64_t word = random_next(&seed);
        memcpy(bytes + i, &word, length - i);
    }
}

#define CHECK_PATTERN(at, length, seed) check_pattern(__FILE__, __LINE__, at, length, seed)

static inline void check_pattern(const char *file, int line, const void *at, size_t length, uint64_t seed)
{
    const uint8_t *bytes = at;
    uint64_t state = seed;
    for (size_t i = 0; i < length; i += 8) {
        uint64_t word = random_next(&state);
        size_t piece = length - i < 8 ? length - i : 8;
        if (memcmp(bytes + i, &word, piece) == 0)
            continue;
        fprintf(stderr, "%s:%d: %s: payload of %zu bytes differs from pattern %#llx in bytes %zu to %zu\n", file, line,
                check_running, length, (unsigned long long)seed, i, i + piece - 1);
        exit(1);
    }
}

#endif
