/* A peer that truncates the segment: an error on this side, and this process lives. Other bus errors stay what they are. */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>

#include "channels.h"

#define CAPACITY SHM_RING_CAPACITY_MIN

static const off_t sizes[] = {0, SHM_HEADER_BYTES, SHM_HEADER_BYTES + CAPACITY};
#define EACH_SIZE(i) for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)

static void truncate_segment(struct pair *pair, off_t bytes)
{
    CHECK_EQUAL(ftruncate(pair->segment_fd, bytes), 0);
}

/* Until this side has met it: what it touches first may be what is left. */
static void check_refused(shm_channel *channel)
{
    int rc = 0;
    for (int i = 0; i < 100 && rc != -EPROTO; i++) {
        rc = send_pattern(channel, CAPACITY / 4, 1);
        if (rc == -EAGAIN || rc == 0)
            rc = peek_answer(channel);
    }
    CHECK_EQUAL(rc, -EPROTO);
    CHECK_EQUAL(send_pattern(channel, 10, 1), -EPROTO);
    CHECK_EQUAL(peek_answer(channel), -EPROTO);
}

static void sending_into_a_truncated_segment_is_an_error(void)
{
    EACH_SIZE(i) {
        struct pair pair;
        pair_open(&pair, CAPACITY, TEST_MAX_MESSAGE, 0);
        truncate_segment(&pair, sizes[i]);
        check_refused(pair.acceptor);
        pair_close(&pair);
    }
}

static void a_message_whose_bytes_were_cut_off_is_an_error_after_it(void)
{
    struct pair pair;
    pair_open(&pair, CAPACITY, TEST_MAX_MESSAGE, 0);
    CHECK_EQUAL(send_pattern(pair.dialer, 100, 1), 0);
    truncate_segment(&pair, SHM_HEADER_BYTES);
    int rc = peek_answer(pair.acceptor);
    if (rc >= 0)
        rc = peek_answer(pair.acceptor);
    CHECK_EQUAL(rc, -EPROTO);
    pair_close(&pair);
}

static void waiting_on_a_truncated_segment_ends_with_an_error(void)
{
    static const int64_t spins_us[] = {0, -1, 3600000000};
    for (size_t i = 0; i < sizeof spins_us / sizeof spins_us[0]; i++) {
        struct pair pair;
        pair_open(&pair, CAPACITY, TEST_MAX_MESSAGE, spins_us[i]);
        truncate_segment(&pair, 0);
        CHECK_EQUAL(wait_through_signals(pair.acceptor), 1);
        CHECK_EQUAL(peek_answer(pair.acceptor), -EPROTO);
        pair_close(&pair);
    }
}

static void *truncate_when_parked(void *argument)
{
    struct pair *pair = argument;
    while (shm_channel_peer_state(pair->dialer) != SHM_PARKED)
        sched_yield();
    truncate_segment(pair, 0);
    CHECK_EQUAL(send(pair->sockets[SHM_DIALER], "\1", 1, 0), 1);
    return NULL;
}

static void one_that_sleeps_hears_of_it_at_the_next_doorbell(void)
{
    struct pair pair;
    pthread_t thread;
    pair_open(&pair, CAPACITY, TEST_MAX_MESSAGE, 0);
    CHECK_EQUAL(pthread_create(&thread, NULL, truncate_when_parked, &pair), 0);
    CHECK_EQUAL(wait_through_signals(pair.acceptor), 1);
    CHECK_EQUAL(peek_answer(pair.acceptor), -EPROTO);
    CHECK_EQUAL(pthread_join(thread, NULL), 0);
    pair_close(&pair);
}

static void an_event_loop_hears_of_it_too(void)
{
    struct pair pair;
    pair_open(&pair, CAPACITY, TEST_MAX_MESSAGE, -1);
    truncate_segment(&pair, 0);
    int rc;
    while ((rc = shm_channel_poll(pair.acceptor, 1000)) == 0)
        ;
    CHECK_EQUAL(rc, 1);
    CHECK_EQUAL(peek_answer(pair.acceptor), -EPROTO);
    pair_close(&pair);
}

static void another_connection_is_not_touched(void)
{
    struct pair hostile, other;
    pair_open(&hostile, CAPACITY, TEST_MAX_MESSAGE, 0);
    pair_open(&other, CAPACITY, TEST_MAX_MESSAGE, 0);
    CHECK_EQUAL(send_pattern(other.dialer, 100, 7), 0);
    truncate_segment(&hostile, 0);
    check_refused(hostile.acceptor);
    receive_pattern(other.acceptor, 100, 7);
    CHECK_EQUAL(send_pattern(other.acceptor, 100, 8), 0);
    receive_pattern(other.dialer, 100, 8);
    pair_close(&hostile);
    pair_close(&other);
}

static void a_guard_is_used_again_without_the_loss_of_before(void)
{
    for (uint64_t i = 0; i < 100; i++) {
        struct pair pair;
        pair_open(&pair, CAPACITY, TEST_MAX_MESSAGE, 0);
        CHECK_EQUAL(send_pattern(pair.dialer, 100, i), 0);
        receive_pattern(pair.acceptor, 100, i);
        truncate_segment(&pair, 0);
        check_refused(pair.dialer);
        pair_close(&pair);
    }
}

/* Touches memory of a file of its own that has been truncated. */
static void touch_beyond_the_end(void)
{
    int fd = memory_file(4096);
    volatile char *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(memory != MAP_FAILED);
    CHECK_EQUAL(ftruncate(fd, 0), 0);
    memory[0] = 1;
}

static void exit_with_7(int number)
{
    (void)number;
    _exit(7);
}

/* The status of a child in which memory that is not ours is touched, after a channel has been open. */
static int status_of_other_bus_error(void (*handler)(int))
{
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        signal(SIGBUS, handler);
        struct pair pair;
        pair_open(&pair, CAPACITY, TEST_MAX_MESSAGE, 0);
        touch_beyond_the_end();
        _exit(0);
    }
    int status;
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    return status;
}

/* First: the children must find no handler of ours installed yet. */
static void a_bus_error_elsewhere_ends_the_process_as_ever(void)
{
    const int status = status_of_other_bus_error(SIG_DFL);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
}

static void a_bus_error_elsewhere_goes_to_the_handler_that_was_there(void)
{
    const int status = status_of_other_bus_error(exit_with_7);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7);
}

int main(void)
{
    RUN(a_bus_error_elsewhere_ends_the_process_as_ever);
    RUN(a_bus_error_elsewhere_goes_to_the_handler_that_was_there);
    RUN(sending_into_a_truncated_segment_is_an_error);
    RUN(a_message_whose_bytes_were_cut_off_is_an_error_after_it);
    RUN(waiting_on_a_truncated_segment_ends_with_an_error);
    RUN(one_that_sleeps_hears_of_it_at_the_next_doorbell);
    RUN(an_event_loop_hears_of_it_too);
    RUN(another_connection_is_not_touched);
    RUN(a_guard_is_used_again_without_the_loss_of_before);
    return 0;
}
