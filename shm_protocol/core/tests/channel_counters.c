#include "../counters.h"
#include "../waiter.h"
#include "channels.h"

#define CAPACITY SHM_RING_CAPACITY_MIN

static struct shm_channel_stats peer_stats_of(const shm_channel *channel)
{
    struct shm_channel_stats stats;
    shm_channel_get_peer_stats(channel, &stats);
    return stats;
}

static void each_side_reads_what_the_other_counts(void)
{
    struct pair pair;
    pair_open(&pair, CAPACITY, TEST_MAX_MESSAGE, 7);
    CHECK_EQUAL(send_pattern(pair.dialer, 100, 1), 0);
    CHECK_EQUAL(send_pattern(pair.dialer, 20, 2), 0);
    receive_pattern(pair.acceptor, 100, 1);
    CHECK(shm_channel_park(pair.dialer));
    CHECK_EQUAL(send_pattern(pair.acceptor, 1, 3), 0);

    struct shm_channel_stats dialer = peer_stats_of(pair.acceptor);
    CHECK_EQUAL(dialer.messages_sent, 2);
    CHECK_EQUAL(dialer.bytes_sent, 120);
    CHECK_EQUAL(dialer.messages_received, 0);
    CHECK_EQUAL(dialer.parks, 1);
    CHECK_EQUAL(dialer.doorbells_rung, 0);
    CHECK_EQUAL(dialer.ring_used, SHM_RECORD_HEADER_BYTES + 24);

    struct shm_channel_stats acceptor = peer_stats_of(pair.dialer);
    CHECK_EQUAL(acceptor.messages_received, 1);
    CHECK_EQUAL(acceptor.bytes_received, 100);
    CHECK_EQUAL(acceptor.messages_sent, 1);
    CHECK_EQUAL(acceptor.doorbells_rung, 1);
    CHECK_EQUAL(acceptor.parks, 0);

    struct shm_channel_stats own = stats_of(pair.dialer);
    CHECK_EQUAL(own.messages_sent, dialer.messages_sent);
    CHECK_EQUAL(own.ring_used, dialer.ring_used);
    CHECK_EQUAL(own.ring_bytes, CAPACITY);
    own = stats_of(pair.acceptor);
    CHECK_EQUAL(own.messages_received, acceptor.messages_received);
    CHECK_EQUAL(own.ring_used, SHM_RECORD_HEADER_BYTES + 8);
    pair_close(&pair);
}

static void the_state_of_each_side_is_told(void)
{
    struct pair pair;
    pair_open(&pair, CAPACITY, TEST_MAX_MESSAGE, 0);
    CHECK_EQUAL(peer_stats_of(pair.acceptor).state, SHM_AWAKE);
    CHECK(shm_channel_park(pair.dialer));
    CHECK_EQUAL(peer_stats_of(pair.acceptor).state, SHM_PARKED);
    CHECK_EQUAL(stats_of(pair.dialer).state, SHM_PARKED);
    shm_channel_set_busy(pair.acceptor, true);
    CHECK_EQUAL(peer_stats_of(pair.dialer).state, SHM_BUSY);
    CHECK_EQUAL(stats_of(pair.acceptor).state, SHM_BUSY);
    pair_close(&pair);
}

static void the_spin_budget_is_told_from_the_beginning_and_when_it_changes(void)
{
    struct pair pair;
    pair_open(&pair, CAPACITY, TEST_MAX_MESSAGE, 7);
    CHECK_EQUAL(peer_stats_of(pair.acceptor).spin_budget_ns, sysconf(_SC_NPROCESSORS_ONLN) > 1 ? 7000 : 0);
    pair_close(&pair);
    pair_open(&pair, CAPACITY, TEST_MAX_MESSAGE, -1);
    const uint64_t before = peer_stats_of(pair.acceptor).spin_budget_ns;
    for (int wait = 0; wait < 2 * SHM_SPIN_PATIENCE; wait++) {
        while (shm_channel_poll(pair.dialer, 1000) == 0)
            ;
        CHECK_EQUAL(send_pattern(pair.acceptor, 1, 1), 0);
        CHECK_EQUAL(shm_channel_poll(pair.dialer, 1000), 1);
        receive_pattern(pair.dialer, 1, 1);
    }
    CHECK(before == 0 || peer_stats_of(pair.acceptor).spin_budget_ns < before);
    pair_close(&pair);
}

static void calls_are_counted_by_how_long_they_took(void)
{
    struct pair pair;
    pair_open(&pair, CAPACITY, TEST_MAX_MESSAGE, 0);
    shm_channel_count_call(pair.dialer, 0, false);
    shm_channel_count_call(pair.dialer, 255, true);
    shm_channel_count_call(pair.dialer, 10000, false);
    shm_channel_count_call(pair.dialer, 10000, true);
    shm_channel_count_call(pair.dialer, UINT64_MAX, false);
    struct shm_channel_stats dialer = peer_stats_of(pair.acceptor);
    CHECK_EQUAL(dialer.latency[0], 2);
    CHECK_EQUAL(dialer.latency[shm_latency_bucket(10000)], 2);
    CHECK_EQUAL(dialer.latency[SHM_LATENCY_BUCKETS - 1], 1);
    CHECK_EQUAL(dialer.calls_failed, 2);
    CHECK_EQUAL(peer_stats_of(pair.dialer).latency[0], 0);
    pair_close(&pair);
}

static void a_bucket_begins_where_the_one_before_ends(void)
{
    CHECK_EQUAL(shm_latency_bucket(0), 0);
    CHECK_EQUAL(shm_latency_bucket(255), 0);
    for (unsigned bucket = 1; bucket < SHM_LATENCY_BUCKETS; bucket++) {
        const uint64_t octave = UINT64_C(1) << (8 + (bucket - 1) / 4);
        const uint64_t begin = octave + octave / 4 * ((bucket - 1) % 4);
        CHECK_EQUAL(shm_latency_bucket(begin), bucket);
        CHECK_EQUAL(shm_latency_bucket(begin - 1), bucket - 1);
    }
    CHECK_EQUAL(shm_latency_bucket(UINT64_MAX), SHM_LATENCY_BUCKETS - 1);
}

static void indices_that_cannot_be_fill_the_ring_at_most(void)
{
    struct pair pair;
    pair_open(&pair, CAPACITY, TEST_MAX_MESSAGE, 0);
    atomic_store(&pair_words(&pair, SHM_RING_TO_ACCEPTOR)->tail, UINT64_MAX);
    CHECK_EQUAL(peer_stats_of(pair.acceptor).ring_used, CAPACITY);
    atomic_store(&pair_words(&pair, SHM_RING_TO_ACCEPTOR)->head, 8);
    atomic_store(&pair_words(&pair, SHM_RING_TO_ACCEPTOR)->tail, 0);
    CHECK_EQUAL(peer_stats_of(pair.acceptor).ring_used, CAPACITY);
    pair_close(&pair);
}

int main(void)
{
    RUN(each_side_reads_what_the_other_counts);
    RUN(the_state_of_each_side_is_told);
    RUN(the_spin_budget_is_told_from_the_beginning_and_when_it_changes);
    RUN(calls_are_counted_by_how_long_they_took);
    RUN(a_bucket_begins_where_the_one_before_ends);
    RUN(indices_that_cannot_be_fill_the_ring_at_most);
    return 0;
}
