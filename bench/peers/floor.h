/* What the C floors share: two processes, a clock, and one answer on standard output: the time of each call as a native
 * double, nanoseconds, and then the processor time of both processes as a u64, nanoseconds. */
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

static uint64_t processor_ns(clockid_t clock)
{
    struct timespec used;
    if (clock_gettime(clock, &used) < 0)
        die("clock_gettime");
    return (uint64_t)used.tv_sec * UINT64_C(1000000000) + (uint64_t)used.tv_nsec;
}

struct floor_arguments {
    size_t calls, warmup;
    int caller_core, callee_core;
    size_t payload_bytes;
};

/* `CALLS WARMUP CALLER_CORE CALLEE_CORE PAYLOAD_BYTES` (core -1: any). Ends the program if there are not five. */
static struct floor_arguments parse(int argc, char **argv)
{
    if (argc != 6) {
        fprintf(stderr, "usage: %s CALLS WARMUP CALLER_CORE CALLEE_CORE PAYLOAD_BYTES\n", argv[0]);
        exit(2);
    }
    return (struct floor_arguments){strtoul(argv[1], NULL, 10), strtoul(argv[2], NULL, 10), atoi(argv[3]),
                                    atoi(argv[4]), strtoul(argv[5], NULL, 10)};
}

/* Time `calls` runs of `call` after `warmup` untimed ones, in this process, and print. `child`: whose processor time
 * counts too, or 0. */
static void time_calls(struct floor_arguments arguments, void (*call)(void), pid_t child)
{
    double *times = calloc(arguments.calls, sizeof *times);
    clockid_t childs;
    if (times == NULL)
        die("calloc");
    if (child != 0 && clock_getcpuclockid(child, &childs) != 0)
        die("clock_getcpuclockid");
    pin(arguments.caller_core);
    for (size_t i = 0; i < arguments.warmup; i++)
        call();
    uint64_t used = processor_ns(CLOCK_PROCESS_CPUTIME_ID) + (child != 0 ? processor_ns(childs) : 0);
    for (size_t i = 0; i < arguments.calls; i++) {
        uint64_t began = now_ns();
        call();
        times[i] = (double)(now_ns() - began);
    }
    used = processor_ns(CLOCK_PROCESS_CPUTIME_ID) + (child != 0 ? processor_ns(childs) : 0) - used;
    if (fwrite(times, sizeof *times, arguments.calls, stdout) != arguments.calls || fwrite(&used, sizeof used, 1, stdout) != 1)
        die("fwrite");
    free(times);
}

#ifndef FLOOR_ALONE
/* Fork `callee`, which is called over and over until it is killed, and time `call`. */
static int run_floor(struct floor_arguments arguments, void (*callee)(void), void (*call)(void))
{
    pid_t parent = getpid();
    pid_t child = fork();
    if (child < 0)
        die("fork");
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(0);
        pin(arguments.callee_core);
        for (;;)
            callee();
    }
    time_calls(arguments, call, child);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    return 0;
}
#endif

#endif
