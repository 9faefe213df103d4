/* A second thread writes into the segment, over and over, while the channel opens it and reads: unlike in altered.c also
 * between two instructions. What it writes is the input's; how the two threads meet is not, so that a finding may have to
 * be tried a few times. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "harness.h"

#define PATCHES_MAX 16
#define MESSAGES_MAX 48
/* On a machine without a core to spare the two take turns: each lets the other have its own soon. */
#define ROUNDS_MAX 64
#define PATCHES_A_TURN 4
#define MAX_MESSAGE (2 * CAPACITY)

static struct patch patches[PATCHES_MAX];
static size_t patch_count;
static sem_t begins, ended;
static atomic_bool is_writing, is_over;

static void *write_over_and_over(void *unused)
{
    for (;;) {
        while (sem_wait(&begins) != 0) {
        }
        for (size_t i = 0; i < ROUNDS_MAX * patch_count && !atomic_load_explicit(&is_over, memory_order_relaxed); i++) {
            apply_patch(&patches[i % patch_count]);
            atomic_store_explicit(&is_writing, true, memory_order_relaxed);
            if (i % PATCHES_A_TURN == PATCHES_A_TURN - 1)
                sched_yield();
        }
        sem_post(&ended);
    }
    return unused;
}

static void start_thread(void)
{
    static pthread_t thread;
    static bool is_started;
    if (is_started)
        return;
    is_started = true;
    MUST(sem_init(&begins, 0, 0) == 0 && sem_init(&ended, 0, 0) == 0);
    MUST(pthread_create(&thread, NULL, write_over_and_over, NULL) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, data + size};
    const uint8_t first = (uint8_t)take(&input, 1);
    for (patch_count = 0; patch_count == 0 || (patch_count < PATCHES_MAX && input.at < input.end); patch_count++)
        patches[patch_count] = take_patch(&input);
    segment_begin_laid_out();
    start_thread();
    atomic_store(&is_over, false);
    atomic_store(&is_writing, false);
    sem_post(&begins);
    while (!atomic_load_explicit(&is_writing, memory_order_relaxed))
        sched_yield();

    shm_channel *channel;
    if (channel_open(&channel, MAX_MESSAGE) == 0) {
        for (int messages = 0; messages < MESSAGES_MAX; messages++) {
            const int rc = receive(channel, MAX_MESSAGE);
            if (rc == 1)
                shm_channel_consume(channel);
            if (rc < 0 || ((first & 1) != 0 && transmit(channel, first) == -EPROTO))
                break;
        }
    }
    atomic_store(&is_over, true);
    while (sem_wait(&ended) != 0) {
    }
    channel_close(channel);
    return 0;
}
