/* Floor: a round trip of bare wake-ups, each side blocking in the kernel on an eventfd. */
#include "floor.h"

#include <sys/eventfd.h>

static int to_callee, to_caller;

static void signal_fd(int fd)
{
    uint64_t one = 1;
    if (write(fd, &one, sizeof one) != sizeof one)
        die("write");
}

static void await_fd(int fd)
{
    uint64_t count;
    if (read(fd, &count, sizeof count) != sizeof count)
        die("read");
}

static void callee(void)
{
    await_fd(to_callee);
    signal_fd(to_caller);
}

static void call(void)
{
    signal_fd(to_callee);
    await_fd(to_caller);
}

int main(int argc, char **argv)
{
    to_callee = eventfd(0, EFD_CLOEXEC);
    to_caller = eventfd(0, EFD_CLOEXEC);
    if (to_callee < 0 || to_caller < 0)
        die("eventfd");
    return run_floor(parse(argc, argv), callee, call);
}
