/* The consumer state as the peer sees it: awake, busy or parked, and back again. */
#include "channels.h"

static void opened(struct pair *pair)
{
    pair_open(pair, SHM_RING_CAPACITY_MIN, TEST_MAX_MESSAGE, 0);
}

static void a_new_channel_is_awake(void)
{
    struct pair pair;
    opened(&pair);
    CHECK_EQUAL(shm_channel_peer_state(pair.dialer), SHM_AWAKE);
    CHECK_EQUAL(shm_channel_peer_state(pair.acceptor), SHM_AWAKE);
    pair_close(&pair);
}

static void busy_is_seen_by_the_peer_only(void)
{
    struct pair pair;
    opened(&pair);
    shm_channel_set_busy(pair.dialer, true);
    CHECK_EQUAL(shm_channel_peer_state(pair.acceptor), SHM_BUSY);
    CHECK_EQUAL(shm_channel_peer_state(pair.dialer), SHM_AWAKE);
    shm_channel_set_busy(pair.dialer, false);
    CHECK_EQUAL(shm_channel_peer_state(pair.acceptor), SHM_AWAKE);
    pair_close(&pair);
}

static void parking_hides_busy_and_unparking_shows_it_again(void)
{
    struct pair pair;
    opened(&pair);
    shm_channel_set_busy(pair.dialer, true);
    CHECK(shm_channel_park(pair.dialer));
    CHECK_EQUAL(shm_channel_peer_state(pair.acceptor), SHM_PARKED);
    shm_channel_unpark(pair.dialer);
    CHECK_EQUAL(shm_channel_peer_state(pair.acceptor), SHM_BUSY);
    pair_close(&pair);
}

static void busy_while_parked_takes_effect_on_waking(void)
{
    struct pair pair;
    opened(&pair);
    CHECK(shm_channel_park(pair.dialer));
    shm_channel_set_busy(pair.dialer, true);
    /* To store BUSY now would leave the peer without a reason to ring. */
    CHECK_EQUAL(shm_channel_peer_state(pair.acceptor), SHM_PARKED);
    CHECK_EQUAL(send_pattern(pair.acceptor, 1, 1), 0);
    CHECK_EQUAL(doorbells_for(&pair, SHM_DIALER), 1);
    shm_channel_unpark(pair.dialer);
    CHECK_EQUAL(shm_channel_peer_state(pair.acceptor), SHM_BUSY);
    pair_close(&pair);
}

static void a_park_that_finds_a_message_stays_busy(void)
{
    struct pair pair;
    opened(&pair);
    shm_channel_set_busy(pair.dialer, true);
    CHECK_EQUAL(send_pattern(pair.acceptor, 1, 1), 0);
    CHECK(!shm_channel_park(pair.dialer));
    CHECK_EQUAL(shm_channel_peer_state(pair.acceptor), SHM_BUSY);
    pair_close(&pair);
}

static void any_state_of_a_hostile_peer_is_passed_on(void)
{
    struct pair pair;
    opened(&pair);
    atomic_store(&pair_words(&pair, SHM_RING_TO_DIALER)->consumer_state, UINT32_MAX);
    CHECK_EQUAL(shm_channel_peer_state(pair.acceptor), UINT32_MAX);
    CHECK_EQUAL(send_pattern(pair.acceptor, 1, 1), 0);
    CHECK_EQUAL(doorbells_for(&pair, SHM_DIALER), 0);
    pair_close(&pair);
}

int main(void)
{
    RUN(a_new_channel_is_awake);
    RUN(busy_is_seen_by_the_peer_only);
    RUN(parking_hides_busy_and_unparking_shows_it_again);
    RUN(busy_while_parked_takes_effect_on_waking);
    RUN(a_park_that_finds_a_message_stays_busy);
    RUN(any_state_of_a_hostile_peer_is_passed_on);
    return 0;
}
