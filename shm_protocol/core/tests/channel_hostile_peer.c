/* A hostile peer at the level of messages: fragments that cannot be, and segments full of garbage. */
#include "channels.h"

#define CAPACITY SHM_RING_CAPACITY_MIN
#define QUARTER (CAPACITY / 4)

/* A peer that cut a large message into single bytes would keep the reader busy 64 million times for one message. */
static void a_fragment_of_another_length_than_a_quarter_of_the_ring_is_a_protocol_error(void)
{
    static const uint32_t lengths[] = {0, 1, 8, QUARTER - 1, QUARTER + 1, CAPACITY / 2 - SHM_RECORD_HEADER_BYTES};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++)
        for (uint32_t fragments_before = 0; fragments_before < 2; fragments_before++) {
            struct pair pair;
            pair_open(&pair, CAPACITY, TEST_MAX_MESSAGE, 0);
            for (uint32_t fragment = 0; fragment < fragments_before; fragment++)
                pair_forge_record(&pair, QUARTER, SHM_RECORD_MORE);
            pair_forge_record(&pair, lengths[i], SHM_RECORD_MORE);
            CHECK_EQUAL(peek_answer(pair.acceptor), -EPROTO);
            CHECK_EQUAL(peek_answer(pair.acceptor), -EPROTO);
            pair_close(&pair);
        }
}

static void a_last_fragment_that_is_empty_or_too_long_is_a_protocol_error(void)
{
    static const uint32_t lengths[] = {0, QUARTER + 1};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        struct pair pair;
        pair_open(&pair, CAPACITY, TEST_MAX_MESSAGE, 0);
        pair_forge_record(&pair, QUARTER, SHM_RECORD_MORE);
        CHECK_EQUAL(peek_answer(pair.acceptor), 0);
        pair_forge_record(&pair, lengths[i], 0);
        CHECK_EQUAL(peek_answer(pair.acceptor), -EPROTO);
        pair_close(&pair);
    }
}

static void a_message_in_one_record_that_should_have_been_cut_is_a_protocol_error(void)
{
    struct pair pair;
    pair_open(&pair, CAPACITY, TEST_MAX_MESSAGE, 0);
    pair_forge_record(&pair, QUARTER, 0);
    CHECK_EQUAL(peek_answer(pair.acceptor), 1);
    shm_channel_consume(pair.acceptor);
    pair_forge_record(&pair, QUARTER + 1, 0);
    CHECK_EQUAL(peek_answer(pair.acceptor), -EPROTO);
    pair_close(&pair);
}

/* As a real writer places it: behind padding where it would reach past the end of the data. */
static void forge_fragment(struct pair *pair)
{
    uint64_t tail = atomic_load(&pair_words(pair, SHM_RING_TO_ACCEPTOR)->tail);
    uint32_t to_end = CAPACITY - (uint32_t)(tail & (CAPACITY - 1));
    if (to_end < SHM_RECORD_HEADER_BYTES + QUARTER)
        pair_forge_record(pair, to_end - SHM_RECORD_HEADER_BYTES, SHM_RECORD_PADDING);
    pair_forge_record(pair, QUARTER, SHM_RECORD_MORE);
}

static void a_message_that_never_ends_stops_at_the_limit(void)
{
    struct pair pair;
    pair_open(&pair, CAPACITY, 10 * CAPACITY, 0);
    uint32_t fragments = 0;
    int rc;
    do {
        forge_fragment(&pair);
        rc = peek_answer(pair.acceptor);
        CHECK(++fragments < 100);
    } while (rc == 0);
    CHECK_EQUAL(rc, -EMSGSIZE);
    CHECK_EQUAL(fragments, 10 * CAPACITY / QUARTER + 1);
    pair_close(&pair);
}

static void a_broken_ring_is_ready_so_that_its_error_is_met(void)
{
    struct pair pair;
    pair_open(&pair, CAPACITY, TEST_MAX_MESSAGE, 0);
    atomic_store(&pair_words(&pair, SHM_RING_TO_ACCEPTOR)->tail, 3);
    CHECK_EQUAL(shm_channel_poll(pair.acceptor, 0), 1);
    CHECK(!shm_channel_park(pair.acceptor));
    CHECK_EQUAL(shm_channel_wait(pair.acceptor, -1), 1);
    CHECK_EQUAL(peek_answer(pair.acceptor), -EPROTO);
    pair_close(&pair);
}

static void a_broken_head_is_ready_for_who_waits_for_room(void)
{
    struct pair pair;
    pair_open(&pair, CAPACITY, TEST_MAX_MESSAGE, 0);
    CHECK_EQUAL(send_pattern(pair.dialer, 2 * CAPACITY, 1), -EAGAIN);
    CHECK_EQUAL(shm_channel_poll(pair.dialer, 0), -EAGAIN);
    shm_channel_unpark(pair.dialer);
    atomic_store(&pair_words(&pair, SHM_RING_TO_ACCEPTOR)->head, 3);
    CHECK(!shm_channel_park(pair.dialer));
    CHECK_EQUAL(shm_channel_poll(pair.dialer, 0), 1);
    CHECK_EQUAL(shm_channel_wait(pair.dialer, -1), 1);
    CHECK_EQUAL(send_pattern(pair.dialer, 2 * CAPACITY, 1), -EPROTO);
    pair_close(&pair);
}

/* What the peer alters after it was shown is the reader's to copy out first; the channel itself goes on unharmed. */
static void a_message_altered_while_shown_harms_only_itself(void)
{
    struct pair pair;
    const uint8_t *message;
    size_t length;
    pair_open(&pair, CAPACITY, TEST_MAX_MESSAGE, 0);
    CHECK_EQUAL(send_pattern(pair.dialer, 100, 1), 0);
    CHECK_EQUAL(send_pattern(pair.dialer, 200, 2), 0);
    CHECK_EQUAL(shm_channel_peek(pair.acceptor, &message, &length), 1);
    memset(shm_segment_data(&pair.view, SHM_RING_TO_ACCEPTOR), 0xff, SHM_RECORD_HEADER_BYTES + 100);
    CHECK_EQUAL(length, 100);
    shm_channel_consume(pair.acceptor);
    receive_pattern(pair.acceptor, 200, 2);
    pair_close(&pair);
}

/* Data and words of both rings are scribbled over while a channel works: its answers stay within what the header
 * promises, and what it shows stays readable. */
static void garbage_gives_an_answer_and_never_a_crash(void)
{
    const uint32_t rounds = 4000;
    uint64_t seed = random_seed();
    uint64_t messages = 0, steps = 0;
    for (uint32_t round = 0; round < rounds; round++) {
        struct pair pair;
        pair_open(&pair, CAPACITY, 3 * CAPACITY, 0);
        for (bool broken = false; !broken; steps++) {
            struct shm_ring_words *words = pair_words(&pair, (enum shm_ring_index)random_below(&seed, 2));
            switch (random_below(&seed, 64)) {
            case 0:
                atomic_store(&words->tail, random_next(&seed) >> random_below(&seed, 64));
                break;
            case 1:
                atomic_store(&words->head, random_next(&seed) >> random_below(&seed, 64));
                break;
            case 2:
                atomic_store(&words->consumer_state, random_below(&seed, 4));
                break;
            case 3:
                atomic_store(&words->producer_waiting, random_below(&seed, 3));
                break;
            case 4: {
                uint8_t *data = shm_segment_data(&pair.view, (enum shm_ring_index)random_below(&seed, 2));
                pattern_fill(data + random_below(&seed, CAPACITY / 8) * 8, 4, random_next(&seed));
                break;
            }
            case 5:
            case 6:
            case 7:
                atomic_store(&words->head, atomic_load(&words->tail));
                break;
            default:
                if (random_below(&seed, 8) == 0)
                    forge_fragment(&pair);
                else
                    pair_forge_record(&pair, 1 + random_below(&seed, 63), 0);
            }
            const uint8_t *message;
            size_t length;
            int rc = shm_channel_peek(pair.acceptor, &message, &length);
            CHECK(rc == 1 || rc == 0 || rc == -EPROTO || rc == -EMSGSIZE);
            broken = rc < 0;
            if (rc == 1) {
                volatile uint8_t touched = 0;
                CHECK(length <= 3 * CAPACITY);
                for (size_t i = 0; i < length; i++)
                    touched ^= message[i];
                shm_channel_consume(pair.acceptor);
                messages++;
            }
            rc = shm_channel_is_sending(pair.acceptor) ? -EAGAIN : 0;
            if (rc == 0)
                rc = send_pattern(pair.acceptor, random_below(&seed, 2 * CAPACITY), 1);
            else if (shm_channel_wait(pair.acceptor, 0) == 1)
                rc = send_pattern(pair.acceptor, 2 * CAPACITY, 1);
            CHECK(rc == 0 || rc == -EAGAIN || rc == -EPROTO);
            broken = broken || rc < 0;
            rc = shm_channel_poll(pair.acceptor, 0);
            CHECK(rc == 1 || rc == 0 || rc == -EAGAIN);
            shm_channel_unpark(pair.acceptor);
            (void)doorbells_for(&pair, SHM_DIALER);
        }
        pair_close(&pair);
    }
    fprintf(stderr, "%u rounds, %llu steps, %llu messages\n", rounds, (unsigned long long)steps,
            (unsigned long long)messages);
    CHECK(messages > rounds);
}

int main(void)
{
    RUN(a_fragment_of_another_length_than_a_quarter_of_the_ring_is_a_protocol_error);
    RUN(a_last_fragment_that_is_empty_or_too_long_is_a_protocol_error);
    RUN(a_message_in_one_record_that_should_have_been_cut_is_a_protocol_error);
    RUN(a_message_that_never_ends_stops_at_the_limit);
    RUN(a_broken_ring_is_ready_so_that_its_error_is_met);
    RUN(a_broken_head_is_ready_for_who_waits_for_room);
    RUN(a_message_altered_while_shown_harms_only_itself);
    RUN(garbage_gives_an_answer_and_never_a_crash);
    return 0;
}
