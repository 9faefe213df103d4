/* Preloaded: while the file $CLOCK_SET_BACK exists, the time of day is a day earlier. Monotonic clocks go on. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define DAY_S 86400

static time_t set_back_s(void)
{
    const char *file = getenv("CLOCK_SET_BACK");
    return file != NULL && access(file, F_OK) == 0 ? DAY_S : 0;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int rc = (int)syscall(SYS_clock_gettime, clock, now);
    if (rc == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec -= set_back_s();
    return rc;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec time_of_day;
    int rc = clock_gettime(CLOCK_REALTIME, &time_of_day);
    (void)zone;
    now->tv_sec = time_of_day.tv_sec;
    now->tv_usec = time_of_day.tv_nsec / 1000;
    return rc;
}

time_t time(time_t *now)
{
    struct timespec time_of_day = {0};
    (void)clock_gettime(CLOCK_REALTIME, &time_of_day);
    if (now != NULL)
        *now = time_of_day.tv_sec;
    return time_of_day.tv_sec;
}
