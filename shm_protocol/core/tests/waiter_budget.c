/* The spin budget: what polling catches keeps it, what it misses halves it, and now and then it is tried again. */
#include "../waiter.h"
#include "check.h"

/* One whole wait; returns how long it may poll. The clock moves on. */
static uint64_t one_wait(struct shm_waiter *waiter, bool caught)
{
    static uint64_t clock_ns = 1;
    clock_ns += 1000;
    shm_waiter_begin(waiter, clock_ns, 0);
    const uint64_t polls_ns = waiter->polls_ns;
    CHECK_EQUAL(shm_waiter_polls(waiter, clock_ns), polls_ns > 0);
    shm_waiter_end(waiter, caught);
    return polls_ns;
}

static struct shm_waiter adaptive(void)
{
    struct shm_waiter waiter;
    shm_waiter_init(&waiter, -1, 2);
    return waiter;
}

static void an_adaptive_budget_begins_at_the_maximum(void)
{
    struct shm_waiter waiter = adaptive();
    CHECK_EQUAL(one_wait(&waiter, true), SHM_SPIN_MAX_NS);
    CHECK_EQUAL(waiter.budget_ns, SHM_SPIN_MAX_NS);
}

static void fewer_misses_in_a_row_leave_the_budget_as_it_is(void)
{
    struct shm_waiter waiter = adaptive();
    for (int round = 0; round < 10; round++) {
        for (int miss = 1; miss < SHM_SPIN_PATIENCE; miss++) {
            one_wait(&waiter, false);
            CHECK_EQUAL(waiter.budget_ns, SHM_SPIN_MAX_NS);
        }
        one_wait(&waiter, true);
    }
}

/* Out of patience: the next miss halves the budget. */
static void miss_until_impatient(struct shm_waiter *waiter)
{
    for (int miss = 1; miss < SHM_SPIN_PATIENCE; miss++)
        one_wait(waiter, false);
}

static void use_up(struct shm_waiter *waiter)
{
    while (waiter->budget_ns > 0)
        one_wait(waiter, false);
}

static void further_misses_halve_the_budget_down_to_zero(void)
{
    struct shm_waiter waiter = adaptive();
    miss_until_impatient(&waiter);
    static const uint64_t budgets[] = {50000, 25000, 12500, 6250, 3125, 0, 0, 0};
    for (size_t i = 0; i < sizeof budgets / sizeof budgets[0]; i++) {
        one_wait(&waiter, false);
        CHECK_EQUAL(waiter.budget_ns, budgets[i]);
    }
}

static void a_caught_wait_restores_the_maximum(void)
{
    struct shm_waiter waiter = adaptive();
    miss_until_impatient(&waiter);
    one_wait(&waiter, false);
    one_wait(&waiter, true);
    CHECK_EQUAL(waiter.budget_ns, SHM_SPIN_MAX_NS);
}

/* Nothing was polled, so nothing was learned. */
static void a_wait_without_polling_leaves_a_budget_of_zero(void)
{
    struct shm_waiter waiter = adaptive();
    use_up(&waiter);
    CHECK_EQUAL(one_wait(&waiter, true), 0);
    CHECK_EQUAL(waiter.budget_ns, 0);
}

static void one_wait_in_sixteen_polls_for_the_maximum(void)
{
    struct shm_waiter waiter = adaptive();
    miss_until_impatient(&waiter);
    one_wait(&waiter, false);
    for (int probe = 0; probe < 10; probe++) {
        for (int i = 1; i < SHM_SPIN_PROBE_EVERY; i++)
            CHECK(one_wait(&waiter, false) < SHM_SPIN_MAX_NS);
        CHECK_EQUAL(one_wait(&waiter, false), SHM_SPIN_MAX_NS);
    }
    CHECK_EQUAL(waiter.budget_ns, 0);
}

static void a_probe_that_catches_restores_the_maximum(void)
{
    struct shm_waiter waiter = adaptive();
    miss_until_impatient(&waiter);
    one_wait(&waiter, false);
    for (int i = 1; i < SHM_SPIN_PROBE_EVERY; i++)
        one_wait(&waiter, false);
    CHECK_EQUAL(waiter.budget_ns, 0);
    CHECK_EQUAL(one_wait(&waiter, true), SHM_SPIN_MAX_NS);
    CHECK_EQUAL(waiter.budget_ns, SHM_SPIN_MAX_NS);
    CHECK_EQUAL(one_wait(&waiter, true), SHM_SPIN_MAX_NS);
}

static void a_fixed_budget_never_changes(void)
{
    static const int64_t budgets_us[] = {0, 1, 7, 200, 1000000};
    for (size_t i = 0; i < sizeof budgets_us / sizeof budgets_us[0]; i++) {
        struct shm_waiter waiter;
        shm_waiter_init(&waiter, budgets_us[i], 8);
        for (int wait = 0; wait < 40; wait++)
            CHECK_EQUAL(one_wait(&waiter, wait % 3 == 0), budgets_us[i] * 1000);
        CHECK_EQUAL(waiter.budget_ns, budgets_us[i] * 1000);
    }
}

static void with_one_core_there_is_no_polling(void)
{
    static const int64_t budgets_us[] = {-1, 0, 50, 1000};
    for (size_t i = 0; i < sizeof budgets_us / sizeof budgets_us[0]; i++) {
        struct shm_waiter waiter;
        shm_waiter_init(&waiter, budgets_us[i], 1);
        for (int wait = 0; wait < 40; wait++)
            CHECK_EQUAL(one_wait(&waiter, true), 0);
    }
}

static void polling_ends_when_the_budget_is_used_up(void)
{
    struct shm_waiter waiter;
    shm_waiter_init(&waiter, 10, 2);
    shm_waiter_begin(&waiter, 1000, 0);
    CHECK(shm_waiter_polls(&waiter, 1000));
    CHECK(shm_waiter_polls(&waiter, 10999));
    CHECK(!shm_waiter_polls(&waiter, 11000));
    CHECK(!shm_waiter_polls(&waiter, UINT64_MAX));
}

static void a_wait_under_way_is_not_begun_again(void)
{
    struct shm_waiter waiter;
    shm_waiter_init(&waiter, 10, 2);
    shm_waiter_begin(&waiter, 1000, 0);
    shm_waiter_begin(&waiter, 9000, 0);
    CHECK(!shm_waiter_polls(&waiter, 11000));
    shm_waiter_end(&waiter, false);
    shm_waiter_begin(&waiter, 20000, 0);
    CHECK(shm_waiter_polls(&waiter, 29999));
}

static void within_a_message_the_budget_neither_counts_nor_changes(void)
{
    struct shm_waiter waiter = adaptive();
    use_up(&waiter);
    for (int wait = 0; wait < 100; wait++) {
        shm_waiter_begin_within(&waiter, 1000);
        CHECK(shm_waiter_polls(&waiter, 1000 + SHM_SPIN_WITHIN_NS - 1));
        CHECK(!shm_waiter_polls(&waiter, 1000 + SHM_SPIN_WITHIN_NS));
        shm_waiter_end(&waiter, wait % 2 == 0);
        CHECK_EQUAL(waiter.budget_ns, 0);
    }
}

static void within_a_message_a_fixed_budget_holds(void)
{
    static const int64_t spins_us[] = {0, 7};
    for (int cores = 1; cores <= 2; cores++)
        for (size_t i = 0; i < sizeof spins_us / sizeof spins_us[0]; i++) {
            struct shm_waiter waiter;
            shm_waiter_init(&waiter, spins_us[i], cores);
            shm_waiter_begin_within(&waiter, 1000);
            CHECK_EQUAL(waiter.polls_ns, cores < 2 ? 0 : (uint64_t)spins_us[i] * 1000);
        }
    struct shm_waiter waiter;
    shm_waiter_init(&waiter, -1, 1);
    shm_waiter_begin_within(&waiter, 1000);
    CHECK(!shm_waiter_polls(&waiter, 1000));
}

static void after_a_large_message_a_wait_polls_longer(void)
{
    struct shm_waiter waiter = adaptive();
    shm_waiter_begin(&waiter, 1000, 50000);
    CHECK_EQUAL(waiter.polls_ns, SHM_SPIN_MAX_NS + 50000);
    shm_waiter_end(&waiter, true);
    shm_waiter_begin(&waiter, 1000, SIZE_MAX);
    CHECK_EQUAL(waiter.polls_ns, SHM_SPIN_MAX_NS + SHM_SPIN_LARGE_MAX_NS);
    shm_waiter_end(&waiter, true);
    CHECK_EQUAL(waiter.budget_ns, SHM_SPIN_MAX_NS);
    /* Where polling does not pay, and where it is not wanted, it is not begun for that. */
    use_up(&waiter);
    shm_waiter_begin(&waiter, 1000, 50000);
    CHECK_EQUAL(waiter.polls_ns, 0);
    struct shm_waiter fixed;
    shm_waiter_init(&fixed, 7, 2);
    shm_waiter_begin(&fixed, 1000, 50000);
    CHECK_EQUAL(fixed.polls_ns, 7000);
}

int main(void)
{
    RUN(an_adaptive_budget_begins_at_the_maximum);
    RUN(fewer_misses_in_a_row_leave_the_budget_as_it_is);
    RUN(further_misses_halve_the_budget_down_to_zero);
    RUN(a_caught_wait_restores_the_maximum);
    RUN(a_wait_without_polling_leaves_a_budget_of_zero);
    RUN(one_wait_in_sixteen_polls_for_the_maximum);
    RUN(a_probe_that_catches_restores_the_maximum);
    RUN(a_fixed_budget_never_changes);
    RUN(with_one_core_there_is_no_polling);
    RUN(polling_ends_when_the_budget_is_used_up);
    RUN(a_wait_under_way_is_not_begun_again);
    RUN(within_a_message_the_budget_neither_counts_nor_changes);
    RUN(within_a_message_a_fixed_budget_holds);
    RUN(after_a_large_message_a_wait_polls_longer);
    return 0;
}
