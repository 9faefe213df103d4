/* Limits: messages past max_message, ring capacities that may not be, and what the statistics count. */
#include "channels.h"

#define CAPACITY SHM_RING_CAPACITY_MIN

static void a_message_past_the_limit_is_refused_before_anything_is_sent(void)
{
    struct pair pair;
    pair_open(&pair, CAPACITY, 100, 0);
    CHECK_EQUAL(send_pattern(pair.dialer, 101, 1), -EMSGSIZE);
    CHECK(!shm_channel_is_sending(pair.dialer));
    CHECK_EQUAL(atomic_load(&pair_words(&pair, SHM_RING_TO_ACCEPTOR)->tail), 0);
    CHECK_EQUAL(send_pattern(pair.dialer, 100, 1), 0);
    receive_pattern(pair.acceptor, 100, 1);
    pair_close(&pair);
}

static void a_received_message_past_the_limit_is_refused(void)
{
    struct pair pair;
    pair_open(&pair, CAPACITY, 1000, 0);
    shm_channel_set_max_message(pair.acceptor, 100);
    CHECK_EQUAL(send_pattern(pair.dialer, 101, 1), 0);
    CHECK_EQUAL(peek_answer(pair.acceptor), -EMSGSIZE);
    CHECK_EQUAL(peek_answer(pair.acceptor), -EMSGSIZE);
    pair_close(&pair);
}

static void a_message_that_grows_past_the_limit_is_refused(void)
{
    struct pair pair;
    pair_open(&pair, CAPACITY, TEST_MAX_MESSAGE, 0);
    shm_channel_set_max_message(pair.acceptor, 2 * CAPACITY);
    int rc = 0, sent;
    while ((sent = send_pattern(pair.dialer, 10 * CAPACITY, 1)) == -EAGAIN)
        if ((rc = peek_answer(pair.acceptor)) < 0)
            break;
    CHECK_EQUAL(sent, -EAGAIN);
    CHECK_EQUAL(rc, -EMSGSIZE);
    pair_close(&pair);
}

static void a_message_of_exactly_the_limit_arrives_in_fragments(void)
{
    struct pair pair;
    pair_open(&pair, CAPACITY, 2 * CAPACITY, 0);
    while (send_pattern(pair.dialer, 2 * CAPACITY, 1) == -EAGAIN)
        CHECK_EQUAL(peek_answer(pair.acceptor), 0);
    receive_pattern(pair.acceptor, 2 * CAPACITY, 1);
    CHECK_EQUAL(send_pattern(pair.dialer, 2 * CAPACITY + 1, 1), -EMSGSIZE);
    pair_close(&pair);
}

static void the_limit_can_be_changed_after_the_handshake(void)
{
    struct pair pair;
    pair_open(&pair, CAPACITY, 10, 0);
    CHECK_EQUAL(send_pattern(pair.dialer, 11, 1), -EMSGSIZE);
    shm_channel_set_max_message(pair.dialer, 11);
    shm_channel_set_max_message(pair.acceptor, 11);
    CHECK_EQUAL(send_pattern(pair.dialer, 11, 1), 0);
    receive_pattern(pair.acceptor, 11, 1);
    pair_close(&pair);
}

static void a_limit_of_nothing_lets_an_empty_message_through(void)
{
    struct pair pair;
    pair_open(&pair, CAPACITY, 0, 0);
    CHECK_EQUAL(send_pattern(pair.dialer, 1, 1), -EMSGSIZE);
    CHECK_EQUAL(send_pattern(pair.dialer, 0, 1), 0);
    receive_pattern(pair.acceptor, 0, 1);
    pair_close(&pair);
}

static void only_powers_of_two_within_the_range_are_capacities(void)
{
    static const uint32_t refused[] = {0, 1, SHM_RING_CAPACITY_MIN / 2, SHM_RING_CAPACITY_MIN - 1,
                                       SHM_RING_CAPACITY_MIN + 1, 3 * SHM_RING_CAPACITY_MIN,
                                       SHM_RING_CAPACITY_MAX - 1, SHM_RING_CAPACITY_MAX + 1,
                                       2 * SHM_RING_CAPACITY_MAX, UINT32_MAX};
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        CHECK_EQUAL(shm_segment_bytes(refused[i]), 0);
    for (uint32_t capacity = SHM_RING_CAPACITY_MIN; capacity <= SHM_RING_CAPACITY_MAX; capacity *= 2)
        CHECK_EQUAL(shm_segment_bytes(capacity), SHM_HEADER_BYTES + 2 * (size_t)capacity);
}

/* The file is sparse: only the pages that are touched take memory. */
static void the_largest_capacity_works(void)
{
    struct pair pair;
    pair_open(&pair, SHM_RING_CAPACITY_MAX, TEST_MAX_MESSAGE, 0);
    CHECK_EQUAL(send_pattern(pair.dialer, 1000, 1), 0);
    CHECK_EQUAL(send_pattern(pair.acceptor, 1000, 2), 0);
    receive_pattern(pair.acceptor, 1000, 1);
    receive_pattern(pair.dialer, 1000, 2);
    pair_close(&pair);
}

static void statistics_count_whole_messages_and_payload(void)
{
    struct pair pair;
    pair_open(&pair, CAPACITY, TEST_MAX_MESSAGE, 0);
    CHECK_EQUAL(send_pattern(pair.dialer, 0, 1), 0);
    CHECK_EQUAL(send_pattern(pair.dialer, 13, 2), 0);
    CHECK_EQUAL(send_pattern(pair.dialer, CAPACITY / 2, 3), 0);
    CHECK_EQUAL(stats_of(pair.dialer).messages_sent, 3);
    CHECK_EQUAL(stats_of(pair.dialer).bytes_sent, 13 + CAPACITY / 2);
    CHECK_EQUAL(stats_of(pair.acceptor).messages_received, 0);
    receive_pattern(pair.acceptor, 0, 1);
    receive_pattern(pair.acceptor, 13, 2);
    receive_pattern(pair.acceptor, CAPACITY / 2, 3);
    CHECK_EQUAL(stats_of(pair.acceptor).messages_received, 3);
    CHECK_EQUAL(stats_of(pair.acceptor).bytes_received, 13 + CAPACITY / 2);
    CHECK_EQUAL(stats_of(pair.dialer).messages_received, 0);
    pair_close(&pair);
}

int main(void)
{
    RUN(a_message_past_the_limit_is_refused_before_anything_is_sent);
    RUN(a_received_message_past_the_limit_is_refused);
    RUN(a_message_that_grows_past_the_limit_is_refused);
    RUN(a_message_of_exactly_the_limit_arrives_in_fragments);
    RUN(the_limit_can_be_changed_after_the_handshake);
    RUN(a_limit_of_nothing_lets_an_empty_message_through);
    RUN(only_powers_of_two_within_the_range_are_capacities);
    RUN(the_largest_capacity_works);
    RUN(statistics_count_whole_messages_and_payload);
    return 0;
}
