/* What the C floors share: two processes, a clock, and one answer: the samples on standard output as native u32
 * nanoseconds, which is how every caller of the bench reports. */
#ifndef BENCH_FLOOR_H
#define BENCH_FLOOR_H

#define _GNU_SOURCE
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void pin(int core)
{
    cpu_set_t cores;
    if (core < 0)
        return;
    CPU_ZERO(&cores);
    CPU_SET((size_t)core, &cores);
    if (sched_setaffinity(0, sizeof cores, &cores) < 0)
        die("sched_setaffinity");
}

/* Parse `CALLS WARMUP CALLER_CORE CALLEE_CORE` (-1: any core), fork `callee`, time `calls` round trips of `call` after `warmup`, print, end the callee. */
static int run_floor(int argc, char **argv, void (*callee)(void), void (*call)(void))
{
    if (argc != 5) {
        fprintf(stderr, "usage: %s CALLS WARMUP CALLER_CORE CALLEE_CORE\n", argv[0]);
        return 2;
    }
    size_t calls = strtoul(argv[1], NULL, 10), warmup = strtoul(argv[2], NULL, 10);
    uint32_t *samples = calloc(calls, sizeof *samples);
    if (samples == NULL)
        die("calloc");
    pid_t parent = getpid();
    pid_t child = fork();
    if (child < 0)
        die("fork");
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(0);
        pin(atoi(argv[4]));
        for (;;)
            callee();
    }
    pin(atoi(argv[3]));
    for (size_t i = 0; i < warmup; i++)
        call();
    for (size_t i = 0; i < calls; i++) {
        uint64_t began = now_ns();
        call();
        uint64_t took = now_ns() - began;
        samples[i] = took > UINT32_MAX ? UINT32_MAX : (uint32_t)took;
    }
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    if (fwrite(samples, sizeof *samples, calls, stdout) != calls)
        die("fwrite");
    free(samples);
    return 0;
}

#endif
