/* Messages larger than a quarter of the ring travel in fragments and arrive whole, in order and unmixed. */
#include <pthread.h>

#include "channels.h"

#define CAPACITY SHM_RING_CAPACITY_MIN
#define QUARTER (CAPACITY / 4)

/* Carries one message over from the dialer to the acceptor, in turns, as the ring allows. */
static void carry(struct pair *pair, size_t length, uint64_t seed)
{
    int rc;
    while ((rc = send_pattern(pair->dialer, length, seed)) == -EAGAIN) {
        CHECK(shm_channel_is_sending(pair->dialer));
        CHECK_EQUAL(peek_answer(pair->acceptor), 0);
        CHECK_EQUAL(wait_through_signals(pair->dialer), 1);
    }
    CHECK_EQUAL(rc, 0);
    CHECK(!shm_channel_is_sending(pair->dialer));
    receive_pattern(pair->acceptor, length, seed);
    CHECK_EQUAL(peek_answer(pair->acceptor), 0);
}

static void a_quarter_of_the_capacity_is_one_record(void)
{
    struct pair pair;
    pair_open(&pair, CAPACITY, TEST_MAX_MESSAGE, 0);
    CHECK_EQUAL(send_pattern(pair.dialer, QUARTER, 1), 0);
    struct shm_record_header header = pair_header_at(&pair, SHM_RING_TO_ACCEPTOR, 0);
    CHECK_EQUAL(header.length, QUARTER);
    CHECK_EQUAL(header.flags, 0);
    CHECK_EQUAL(atomic_load(&pair_words(&pair, SHM_RING_TO_ACCEPTOR)->tail), SHM_RECORD_HEADER_BYTES + QUARTER);
    receive_pattern(pair.acceptor, QUARTER, 1);
    pair_close(&pair);
}

static void one_byte_more_makes_a_second_record(void)
{
    struct pair pair;
    pair_open(&pair, CAPACITY, TEST_MAX_MESSAGE, 0);
    CHECK_EQUAL(send_pattern(pair.dialer, QUARTER + 1, 1), 0);
    struct shm_record_header first = pair_header_at(&pair, SHM_RING_TO_ACCEPTOR, 0);
    struct shm_record_header second = pair_header_at(&pair, SHM_RING_TO_ACCEPTOR, SHM_RECORD_HEADER_BYTES + QUARTER);
    CHECK_EQUAL(first.length, QUARTER);
    CHECK_EQUAL(first.flags, SHM_RECORD_MORE);
    CHECK_EQUAL(second.length, 1);
    CHECK_EQUAL(second.flags, 0);
    receive_pattern(pair.acceptor, QUARTER + 1, 1);
    pair_close(&pair);
}

static void an_empty_message_is_a_message(void)
{
    struct pair pair;
    const uint8_t *message;
    size_t length = 99;
    pair_open(&pair, CAPACITY, TEST_MAX_MESSAGE, 0);
    CHECK_EQUAL(shm_channel_send(pair.dialer, NULL, 0), 0);
    CHECK_EQUAL(shm_channel_peek(pair.acceptor, &message, &length), 1);
    CHECK_EQUAL(length, 0);
    shm_channel_consume(pair.acceptor);
    CHECK_EQUAL(peek_answer(pair.acceptor), 0);
    pair_close(&pair);
}

static void a_message_many_times_the_ring_arrives_whole(void)
{
    static const size_t lengths[] = {CAPACITY - 1,      CAPACITY,     CAPACITY + 1, 4 * CAPACITY,
                                     17 * CAPACITY + 3, 512 * CAPACITY};
    struct pair pair;
    pair_open(&pair, CAPACITY, TEST_MAX_MESSAGE, 0);
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++)
        carry(&pair, lengths[i], i);
    pair_close(&pair);
}

static void every_length_around_a_fragment_arrives(void)
{
    struct pair pair;
    pair_open(&pair, CAPACITY, TEST_MAX_MESSAGE, 0);
    for (size_t fragments = 1; fragments <= 6; fragments++)
        for (size_t length = fragments * QUARTER - 17; length <= fragments * QUARTER + 17; length++)
            carry(&pair, length, length);
    pair_close(&pair);
}

static void the_same_message_is_shown_until_it_is_consumed(void)
{
    struct pair pair;
    const uint8_t *first, *second;
    size_t length;
    pair_open(&pair, CAPACITY, TEST_MAX_MESSAGE, 0);
    CHECK_EQUAL(send_pattern(pair.dialer, 2 * QUARTER, 1), 0);
    CHECK_EQUAL(send_pattern(pair.dialer, 10, 2), 0);
    CHECK_EQUAL(shm_channel_peek(pair.acceptor, &first, &length), 1);
    CHECK_EQUAL(shm_channel_peek(pair.acceptor, &second, &length), 1);
    CHECK(first == second);
    /* It is out of the ring already, and still something to wait for no more. */
    CHECK_EQUAL(shm_channel_wait(pair.acceptor, 0), 1);
    CHECK_EQUAL(shm_channel_poll(pair.acceptor, 0), 1);
    CHECK(!shm_channel_park(pair.acceptor));
    receive_pattern(pair.acceptor, 2 * QUARTER, 1);
    receive_pattern(pair.acceptor, 10, 2);
    CHECK_EQUAL(shm_channel_poll(pair.acceptor, 0), -EAGAIN);
    pair_close(&pair);
}

static void half_a_message_is_no_message(void)
{
    struct pair pair;
    pair_open(&pair, CAPACITY, TEST_MAX_MESSAGE, 0);
    CHECK_EQUAL(send_pattern(pair.dialer, 2 * CAPACITY, 1), -EAGAIN);
    CHECK_EQUAL(shm_channel_wait(pair.acceptor, 0), 0);
    CHECK_EQUAL(peek_answer(pair.acceptor), 0);
    CHECK_EQUAL(send_pattern(pair.dialer, 2 * CAPACITY, 1), -EAGAIN);
    CHECK_EQUAL(shm_channel_poll(pair.acceptor, 1000), -EAGAIN);
    CHECK_EQUAL(stats_of(pair.acceptor).messages_received, 0);
    CHECK_EQUAL(stats_of(pair.dialer).messages_sent, 0);
    carry(&pair, 2 * CAPACITY, 1);
    CHECK_EQUAL(stats_of(pair.acceptor).messages_received, 1);
    CHECK_EQUAL(stats_of(pair.acceptor).bytes_received, 2 * CAPACITY);
    CHECK_EQUAL(stats_of(pair.dialer).bytes_sent, 2 * CAPACITY);
    pair_close(&pair);
}

/* Runs in a thread of its own: sends a message much larger than the ring, as room comes. */
static void *send_large(void *argument)
{
    struct pair *pair = argument;
    while (send_pattern(pair->dialer, 5 * CAPACITY + 3, 1) == -EAGAIN)
        CHECK_EQUAL(wait_through_signals(pair->dialer), 1);
    return NULL;
}

static void a_wait_ends_with_the_whole_message(void)
{
    static const int64_t spins_us[] = {0, -1, 1000000};
    for (size_t i = 0; i < sizeof spins_us / sizeof spins_us[0]; i++) {
        struct pair pair;
        pthread_t thread;
        pair_open(&pair, CAPACITY, TEST_MAX_MESSAGE, spins_us[i]);
        CHECK_EQUAL(pthread_create(&thread, NULL, send_large, &pair), 0);
        CHECK_EQUAL(wait_through_signals(pair.acceptor), 1);
        receive_pattern(pair.acceptor, 5 * CAPACITY + 3, 1);
        CHECK_EQUAL(pthread_join(thread, NULL), 0);
        CHECK_EQUAL(shm_channel_wait(pair.acceptor, 0), 0);
        pair_close(&pair);
    }
}

static void a_wait_within_a_message_sends_on_when_there_is_room(void)
{
    struct pair pair;
    pair_open(&pair, CAPACITY, TEST_MAX_MESSAGE, 0);
    CHECK_EQUAL(send_pattern(pair.dialer, 2 * CAPACITY, 1), -EAGAIN);
    CHECK_EQUAL(send_pattern(pair.acceptor, 2 * CAPACITY, 2), -EAGAIN);
    CHECK_EQUAL(shm_channel_wait(pair.acceptor, 0), 0);
    CHECK_EQUAL(shm_channel_wait(pair.dialer, 0), 1);
    CHECK_EQUAL(peek_answer(pair.dialer), 0);
    while (send_pattern(pair.acceptor, 2 * CAPACITY, 2) == -EAGAIN)
        CHECK_EQUAL(shm_channel_wait(pair.dialer, 0), 1);
    pair_close(&pair);
}

static void what_is_taken_stays_whatever_comes_meanwhile(void)
{
    struct pair pair;
    const uint8_t *shown;
    size_t length, size;
    pair_open(&pair, CAPACITY, TEST_MAX_MESSAGE, 0);
    CHECK_EQUAL(send_pattern(pair.dialer, QUARTER, 1), 0);
    CHECK_EQUAL(shm_channel_peek(pair.acceptor, &shown, &length), 1);
    CHECK(shm_channel_take(pair.acceptor, &size) == NULL);
    receive_pattern(pair.acceptor, QUARTER, 1);
    for (uint64_t seed = 2; seed < 6; seed += 2) {
        CHECK_EQUAL(send_pattern(pair.dialer, 2 * QUARTER, seed), 0);
        CHECK_EQUAL(shm_channel_peek(pair.acceptor, &shown, &length), 1);
        uint8_t *taken = shm_channel_take(pair.acceptor, &size);
        CHECK(taken == shown && size >= length);
        CHECK_EQUAL(peek_answer(pair.acceptor), 0);
        CHECK_EQUAL(send_pattern(pair.dialer, 2 * QUARTER, seed + 1), 0);
        CHECK_EQUAL(peek_answer(pair.acceptor), 1);
        CHECK_PATTERN(taken, length, seed);
        shm_channel_give_back(pair.acceptor, taken, size);
        receive_pattern(pair.acceptor, 2 * QUARTER, seed + 1);
        CHECK_EQUAL(stats_of(pair.acceptor).messages_received, seed == 2 ? 3 : 5);
    }
    pair_close(&pair);
}

static void another_shorter_message_in_the_middle_is_misuse(void)
{
    struct pair pair;
    pair_open(&pair, CAPACITY, TEST_MAX_MESSAGE, 0);
    CHECK_EQUAL(send_pattern(pair.dialer, 2 * CAPACITY, 1), -EAGAIN);
    CHECK_EQUAL(send_pattern(pair.dialer, 8, 2), -EINVAL);
    carry(&pair, 2 * CAPACITY, 1);
    pair_close(&pair);
}

/* Random sizes both ways at once, in random turns: messages pass each other, none mixes with another. */
static void random_messages_pass_each_other(void)
{
    uint64_t seed = random_seed();
    struct pair pair;
    pair_open(&pair, CAPACITY, TEST_MAX_MESSAGE, 0);
    shm_channel *sides[2] = {pair.dialer, pair.acceptor};
    size_t queue[2][1024];
    uint64_t sent[2] = {0, 0}, received[2] = {0, 0};
    while (sent[0] < 1000 || sent[1] < 1000) {
        const uint32_t side = random_below(&seed, 2);
        if (random_below(&seed, 2) == 0 && sent[side] < 1000) {
            if (!shm_channel_is_sending(sides[side]))
                queue[side][sent[side]] = random_below(&seed, random_below(&seed, 8) == 0 ? 5 * CAPACITY : 600);
            int rc = send_pattern(sides[side], queue[side][sent[side]], 2 * sent[side] + side);
            CHECK(rc == 0 || rc == -EAGAIN);
            sent[side] += rc == 0;
        } else if (peek_answer(sides[side]) == 1) {
            receive_pattern(sides[side], queue[1 - side][received[side]], 2 * received[side] + 1 - side);
            received[side]++;
        }
    }
    for (int side = 0; side < 2; side++)
        for (; received[side] < 1000; received[side]++)
            receive_pattern(sides[side], queue[1 - side][received[side]], 2 * received[side] + 1 - (unsigned)side);
    pair_close(&pair);
}

int main(void)
{
    RUN(a_quarter_of_the_capacity_is_one_record);
    RUN(one_byte_more_makes_a_second_record);
    RUN(an_empty_message_is_a_message);
    RUN(a_message_many_times_the_ring_arrives_whole);
    RUN(every_length_around_a_fragment_arrives);
    RUN(the_same_message_is_shown_until_it_is_consumed);
    RUN(half_a_message_is_no_message);
    RUN(a_wait_ends_with_the_whole_message);
    RUN(a_wait_within_a_message_sends_on_when_there_is_room);
    RUN(what_is_taken_stays_whatever_comes_meanwhile);
    RUN(another_shorter_message_in_the_middle_is_misuse);
    RUN(random_messages_pass_each_other);
    return 0;
}
