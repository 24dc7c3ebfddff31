/* Every function once as it is meant, and once with each error that it can return; errors leave the outputs alone. */
#include "check.h"

static struct log the_log;

static void configurations(void) {
  hostwheel_config_t config;
  struct {
    hostwheel_config_t config;
    uint8_t tail[64];
  } longer;
  hostwheel_t *wheel = NULL;

  RETURNS(HOSTWHEEL_ERR_NULL_ARG, hostwheel_config_init(NULL, sizeof config));
  memset(&config, 0x5a, sizeof config);
  RETURNS(HOSTWHEEL_ERR_STRUCT_SIZE, hostwheel_config_init(&config, 12));
  CHECK(config.struct_size == 0x5a5a5a5au);
  OK(hostwheel_config_init(&config, sizeof config));
  CHECK(config.struct_size == sizeof config && config.host_ttl_ns == 3600 * SECOND && config.batch == 256);
  CHECK(config.max_hosts == UINT64_C(1) << 24 && config.silence_expected == 20 && config.on_event == NULL);
  CHECK(config.clock == HOSTWHEEL_CLOCK_COUNTER);

  config = manual_config(&the_log);
  RETURNS(HOSTWHEEL_ERR_NULL_ARG, hostwheel_open(NULL, &wheel));
  RETURNS(HOSTWHEEL_ERR_NULL_ARG, hostwheel_open(&config, NULL));
  config.on_event = NULL;
  RETURNS(HOSTWHEEL_ERR_NULL_ARG, hostwheel_open(&config, &wheel));
  config = manual_config(&the_log);
  config.delivery = HOSTWHEEL_DELIVERY_DRAIN; /* and a callback */
  RETURNS(HOSTWHEEL_ERR_CONFIG, hostwheel_open(&config, &wheel));
  config = manual_config(&the_log);
  config.clock = 4;
  RETURNS(HOSTWHEEL_ERR_CONFIG, hostwheel_open(&config, &wheel));
  config = manual_config(&the_log);
  config.max_hosts = 0;
  RETURNS(HOSTWHEEL_ERR_CONFIG, hostwheel_open(&config, &wheel));
  config = manual_config(&the_log);
  config.host_ttl_ns = UINT64_MAX;
  RETURNS(HOSTWHEEL_ERR_CONFIG, hostwheel_open(&config, &wheel));
  config = manual_config(&the_log);
  config.brake_burst_min = 1;
  config.brake_refill_min = 0;
  config.brake_refill_permille = 0; /* a burst without refill */
  RETURNS(HOSTWHEEL_ERR_CONFIG, hostwheel_open(&config, &wheel));
  config = manual_config(&the_log);
  config.reserved[7] = 1;
  RETURNS(HOSTWHEEL_ERR_CONFIG, hostwheel_open(&config, &wheel));
  config = manual_config(&the_log);
  config.struct_size = 8;
  RETURNS(HOSTWHEEL_ERR_STRUCT_SIZE, hostwheel_open(&config, &wheel));
  config.struct_size = sizeof config - 1;
  RETURNS(HOSTWHEEL_ERR_STRUCT_SIZE, hostwheel_open(&config, &wheel));
  /* Cut in the middle of a pointer. */
  config.struct_size = (uint32_t)offsetof(hostwheel_config_t, on_event) + 4;
  RETURNS(HOSTWHEEL_ERR_STRUCT_SIZE, hostwheel_open(&config, &wheel));
  CHECK(wheel == NULL);

  /* A program built for a shorter struct: what is missing has its default, whatever stands behind. */
  config = manual_config(NULL);
  config.struct_size = (uint32_t)offsetof(hostwheel_config_t, on_event);
  config.on_event = log_events;
  config.reserved[0] = 99;
  OK(hostwheel_open(&config, &wheel));
  hostwheel_free(wheel);
  /* One built for a longer struct: a tail of zeros is no wish. */
  memset(&longer, 0, sizeof longer);
  OK(hostwheel_config_init(&longer.config, sizeof longer));
  CHECK(longer.config.struct_size == sizeof longer && longer.tail[0] == 0 && longer.tail[63] == 0);
  longer.config.on_event = log_events;
  longer.config.ctx = &the_log;
  longer.config.clock = HOSTWHEEL_CLOCK_MANUAL;
  wheel = NULL;
  OK(hostwheel_open(&longer.config, &wheel));
  hostwheel_free(wheel);
  longer.tail[63] = 1;
  wheel = NULL;
  RETURNS(HOSTWHEEL_ERR_STRUCT_SIZE, hostwheel_open(&longer.config, &wheel));
  CHECK(wheel == NULL);
}

static void null_wheels(void) {
  hostwheel_event_t event;
  hostwheel_stats_t stats;
  hostwheel_host_t host;
  uint64_t number = 77;
  size_t count = 77;
  int fd = 77;
  RETURNS(HOSTWHEEL_ERR_NULL_ARG, hostwheel_close(NULL, 0));
  RETURNS(HOSTWHEEL_ERR_NULL_ARG, hostwheel_announce(NULL, ID("a"), 0, 0, 0, NULL));
  RETURNS(HOSTWHEEL_ERR_NULL_ARG, hostwheel_renew(NULL, 1, 0, NULL));
  RETURNS(HOSTWHEEL_ERR_NULL_ARG, hostwheel_leave(NULL, ID("a"), &number));
  RETURNS(HOSTWHEEL_ERR_NULL_ARG, hostwheel_leave_handle(NULL, 1, &number));
  RETURNS(HOSTWHEEL_ERR_NULL_ARG, hostwheel_find(NULL, ID("a"), &number));
  RETURNS(HOSTWHEEL_ERR_NULL_ARG, hostwheel_inspect(NULL, 1, &host, sizeof host));
  RETURNS(HOSTWHEEL_ERR_NULL_ARG, hostwheel_each(NULL, NULL, NULL));
  RETURNS(HOSTWHEEL_ERR_NULL_ARG, hostwheel_stats(NULL, &stats, sizeof stats));
  RETURNS(HOSTWHEEL_ERR_NULL_ARG, hostwheel_event_fd(NULL, &fd));
  RETURNS(HOSTWHEEL_ERR_NULL_ARG, hostwheel_drain(NULL, &event, 1, &count));
  RETURNS(HOSTWHEEL_ERR_NULL_ARG, hostwheel_settle(NULL, 1, 1, 0, 0));
  RETURNS(HOSTWHEEL_ERR_NULL_ARG, hostwheel_advance(NULL, 1, &count));
  RETURNS(HOSTWHEEL_ERR_NULL_ARG, hostwheel_next_due(NULL, &number));
  RETURNS(HOSTWHEEL_ERR_NULL_ARG, hostwheel_now(NULL, &number));
  RETURNS(HOSTWHEEL_ERR_NULL_ARG, hostwheel_release(NULL));
  hostwheel_free(NULL);
  CHECK(number == 77 && count == 77 && fd == 77);
}

static int32_t count_hosts(void *ctx, const hostwheel_host_t *host) {
  CHECK(host->id_len == 1 && host->state == HOSTWHEEL_STATE_LIVE && host->held_by == HOSTWHEEL_HELD_NO);
  return ++*(int *)ctx == 2;
}

static void a_life(void) {
  hostwheel_config_t config = manual_config(&the_log);
  hostwheel_t *wheel;
  hostwheel_announced_t announced;
  hostwheel_host_t host;
  hostwheel_stats_t stats;
  struct {
    hostwheel_stats_t stats;
    uint64_t tail[4];
  } longer;
  uint32_t outcome = 77;
  uint64_t number, handle, due;
  size_t count = 77;
  int hosts = 0, fd = 77;
  memset(&the_log, 0, sizeof the_log);
  config.max_hosts = 3;
  config.max_interval_ns = 100 * SECOND;
  wheel = open_with(&config);

  OK(hostwheel_next_due(wheel, &due));
  CHECK(due == HOSTWHEEL_NEVER);
  memset(&announced, 0x5a, sizeof announced);
  OK(hostwheel_announce(wheel, ID("a"), 10 * SECOND, 0, 1, &announced));
  CHECK(announced.outcome == HOSTWHEEL_OUTCOME_REGISTERED && announced.interval_ns == 10 * SECOND);
  CHECK(announced.flags == 0 && announced.handle != 0 && announced.reserved[1] == 0);
  handle = announced.handle;
  OK(hostwheel_announce(wheel, ID("b"), 1, 0, 2, &announced));
  CHECK(announced.flags == HOSTWHEEL_ANNOUNCED_CLAMPED && announced.interval_ns == SECOND);
  OK(hostwheel_announce(wheel, ID("c"), UINT64_MAX, 0, 3, &announced));
  CHECK(announced.flags == HOSTWHEEL_ANNOUNCED_CLAMPED && announced.interval_ns == 100 * SECOND);
  memset(&announced, 0x5a, sizeof announced);
  RETURNS(HOSTWHEEL_ERR_FULL, hostwheel_announce(wheel, ID("d"), SECOND, 0, 4, &announced));
  RETURNS(HOSTWHEEL_ERR_ID_LENGTH, hostwheel_announce(wheel, (const uint8_t *)"", 0, SECOND, 0, 4, &announced));
  RETURNS(HOSTWHEEL_ERR_ID_LENGTH, hostwheel_announce(wheel, (const uint8_t *)"x", 1025, SECOND, 0, 4, &announced));
  RETURNS(HOSTWHEEL_ERR_NULL_ARG, hostwheel_announce(wheel, NULL, 1, SECOND, 0, 4, &announced));
  CHECK(announced.outcome == 0x5a5a5a5au);
  OK(hostwheel_announce(wheel, ID("a"), 10 * SECOND, 0, 9, NULL));

  OK(hostwheel_advance(wheel, 0, &count));
  CHECK(count == 0);
  OK(hostwheel_next_due(wheel, &due));
  CHECK(due <= 2 * SECOND);
  OK(hostwheel_renew(wheel, handle, 0, &outcome));
  CHECK(outcome == HOSTWHEEL_OUTCOME_RENEWED);
  OK(hostwheel_renew(wheel, handle, SECOND, NULL));
  RETURNS(HOSTWHEEL_ERR_STALE, hostwheel_renew(wheel, 0, 0, &outcome));
  RETURNS(HOSTWHEEL_ERR_STALE, hostwheel_renew(wheel, handle ^ (UINT64_C(1) << 40), 0, &outcome));
  RETURNS(HOSTWHEEL_ERR_STALE, hostwheel_renew(wheel, UINT64_MAX, 0, &outcome));

  number = 77;
  OK(hostwheel_find(wheel, ID("a"), &number));
  CHECK(number == handle);
  RETURNS(HOSTWHEEL_ERR_NOT_FOUND, hostwheel_find(wheel, ID("nobody"), &number));
  RETURNS(HOSTWHEEL_ERR_NULL_ARG, hostwheel_find(wheel, ID("a"), NULL));
  CHECK(number == handle);

  memset(&host, 0x5a, sizeof host);
  RETURNS(HOSTWHEEL_ERR_STALE, hostwheel_inspect(wheel, 0, &host, sizeof host));
  RETURNS(HOSTWHEEL_ERR_STRUCT_SIZE, hostwheel_inspect(wheel, handle, &host, 4));
  RETURNS(HOSTWHEEL_ERR_NULL_ARG, hostwheel_inspect(wheel, handle, NULL, sizeof host));
  CHECK(host.handle == UINT64_C(0x5a5a5a5a5a5a5a5a));
  OK(hostwheel_inspect(wheel, handle, &host, 16)); /* the first two fields of an older program */
  CHECK(host.handle == handle && host.user_data == 1 && host.state == 0x5a5a5a5au);
  OK(hostwheel_inspect(wheel, handle, &host, sizeof host));
  CHECK(host.state == HOSTWHEEL_STATE_LIVE && host.interval_ns == 10 * SECOND && host.id == NULL && host.id_len == 0);
  CHECK(host.deadline_ns == 20 * SECOND && host.leaves_at_ns == 30 * SECOND && host.age_ns == 0);
  CHECK(host.suspect_since_ns == HOSTWHEEL_NEVER && host.held_since_ns == HOSTWHEEL_NEVER);

  OK(hostwheel_each(wheel, count_hosts, &hosts));
  CHECK(hosts == 2); /* stopped by its answer */
  RETURNS(HOSTWHEEL_ERR_NULL_ARG, hostwheel_each(wheel, NULL, NULL));

  memset(&longer, 0x5a, sizeof longer);
  OK(hostwheel_stats(wheel, &longer.stats, sizeof longer));
  CHECK(longer.stats.live == 3 && longer.stats.clamps == 2 && longer.tail[0] == 0 && longer.tail[3] == 0);
  RETURNS(HOSTWHEEL_ERR_STRUCT_SIZE, hostwheel_stats(wheel, &stats, 0));
  RETURNS(HOSTWHEEL_ERR_NULL_ARG, hostwheel_stats(wheel, NULL, sizeof stats));

  number = 77;
  OK(hostwheel_leave(wheel, ID("b"), &number));
  CHECK(number == 2);
  RETURNS(HOSTWHEEL_ERR_NOT_FOUND, hostwheel_leave(wheel, ID("b"), &number));
  OK(hostwheel_leave(wheel, ID("c"), NULL));
  RETURNS(HOSTWHEEL_ERR_STALE, hostwheel_leave_handle(wheel, 1, &number));

  RETURNS(HOSTWHEEL_ERR_MODE, hostwheel_event_fd(wheel, &fd));
  RETURNS(HOSTWHEEL_ERR_MODE, hostwheel_drain(wheel, NULL, 0, &count));
  RETURNS(HOSTWHEEL_ERR_MODE, hostwheel_settle(wheel, handle, 1, HOSTWHEEL_VERDICT_DONE, 0));
  RETURNS(HOSTWHEEL_ERR_CONFIG, hostwheel_settle(wheel, handle, 1, 2, 0));
  RETURNS(HOSTWHEEL_ERR_STALE, hostwheel_settle(wheel, UINT32_MAX, 1, HOSTWHEEL_VERDICT_DONE, 0)); /* no handle at all */
  CHECK(fd == 77);

  OK(hostwheel_advance(wheel, 20 * SECOND, &count));
  CHECK(count == 1 && the_log.count == 1 && the_log.events[0].kind == HOSTWHEEL_EVENT_SUSPECT);
  OK(hostwheel_inspect(wheel, handle, &host, sizeof host));
  CHECK(host.state == HOSTWHEEL_STATE_SUSPECT && host.suspect_since_ns == 20 * SECOND);
  OK(hostwheel_renew(wheel, handle, 0, &outcome));
  CHECK(outcome == HOSTWHEEL_OUTCOME_RECOVERED);
  OK(hostwheel_advance(wheel, 21 * SECOND, NULL));
  CHECK(the_log.count == 2 && the_log.events[1].kind == HOSTWHEEL_EVENT_RECOVERED);
  the_log.verdict = HOSTWHEEL_VERDICT_RETRY;
  OK(hostwheel_advance(wheel, 40 * SECOND, NULL));
  OK(hostwheel_advance(wheel, 50 * SECOND, NULL));
  CHECK(the_log.count == 4 && the_log.events[3].kind == HOSTWHEEL_EVENT_LEAVE);
  CHECK(the_log.events[3].handle == handle && the_log.events[3].user_data == 1 && the_log.events[3].attempt == 1);
  CHECK(the_log.events[3].reason == HOSTWHEEL_REASON_TTL && the_log.events[3].id_len == 1 && the_log.ids[3][0] == 'a');
  CHECK(the_log.events[3].last_seen_ns == 20 * SECOND && the_log.events[3].deadline_ns == 40 * SECOND);
  CHECK(the_log.events[3].now_ns == 50 * SECOND && the_log.events[3].lateness_ns == 0);
  RETURNS(HOSTWHEEL_ERR_TAKEN, hostwheel_renew(wheel, handle, 0, NULL));
  RETURNS(HOSTWHEEL_ERR_TAKEN, hostwheel_leave_handle(wheel, handle, NULL));
  RETURNS(HOSTWHEEL_ERR_NOT_FOUND, hostwheel_leave(wheel, ID("a"), NULL));
  OK(hostwheel_release(wheel));
  OK(hostwheel_now(wheel, &number));
  CHECK(number == 50 * SECOND);
  RETURNS(HOSTWHEEL_ERR_NULL_ARG, hostwheel_now(wheel, NULL));
  RETURNS(HOSTWHEEL_ERR_NULL_ARG, hostwheel_next_due(wheel, NULL));

  OK(hostwheel_close(wheel, SECOND));
  OK(hostwheel_close(wheel, 0));
  RETURNS(HOSTWHEEL_ERR_CLOSED, hostwheel_announce(wheel, ID("a"), SECOND, 0, 0, NULL));
  RETURNS(HOSTWHEEL_ERR_CLOSED, hostwheel_renew(wheel, handle, 0, NULL));
  RETURNS(HOSTWHEEL_ERR_CLOSED, hostwheel_leave(wheel, ID("a"), NULL));
  RETURNS(HOSTWHEEL_ERR_CLOSED, hostwheel_leave_handle(wheel, handle, NULL));
  RETURNS(HOSTWHEEL_ERR_CLOSED, hostwheel_advance(wheel, 60 * SECOND, NULL));
  RETURNS(HOSTWHEEL_ERR_CLOSED, hostwheel_next_due(wheel, &due));
  RETURNS(HOSTWHEEL_ERR_CLOSED, hostwheel_release(wheel));
  OK(hostwheel_stats(wheel, &stats, sizeof stats));
  CHECK(stats.leaves_ttl == 1 && stats.outstanding == 1 && stats.left == 2);
  hostwheel_free(wheel);
}

static void modes(void) {
  hostwheel_config_t config;
  hostwheel_t *wheel;
  size_t count;
  uint64_t due;
  OK(hostwheel_config_init(&config, sizeof config));
  config.on_event = log_events;
  config.ctx = &the_log;
  wheel = open_with(&config);
  RETURNS(HOSTWHEEL_ERR_MODE, hostwheel_advance(wheel, 1, &count));
  RETURNS(HOSTWHEEL_ERR_MODE, hostwheel_next_due(wheel, &due));
  OK(hostwheel_close(wheel, SECOND));
  hostwheel_free(wheel);
}

/* Each clock says which it is; where the processor's counter does not tell the time, the coarse clock stands in for it. */
static void clocks(void) {
  uint32_t clock;
  for (clock = HOSTWHEEL_CLOCK_COARSE; clock <= HOSTWHEEL_CLOCK_COUNTER; clock++) {
    hostwheel_config_t config = manual_config(&the_log);
    hostwheel_stats_t stats;
    hostwheel_host_t host;
    hostwheel_t *wheel;
    uint64_t handle;
    config.clock = clock;
    wheel = open_with(&config);
    handle = announce(wheel, "a", 60 * SECOND, 1);
    CHECK(announce(wheel, "a", 60 * SECOND, 1) == handle);
    OK(hostwheel_renew(wheel, handle, 0, NULL));
    OK(hostwheel_inspect(wheel, handle, &host, sizeof host));
    CHECK(host.state == HOSTWHEEL_STATE_LIVE && host.deadline_ns == host.last_seen_ns + 120 * SECOND);
    memset(&stats, 0x5a, sizeof stats);
    OK(hostwheel_stats(wheel, &stats, sizeof stats));
    CHECK(stats.live == 1 && stats.reserved0 == 0);
    if (clock == HOSTWHEEL_CLOCK_COUNTER && stats.clock != HOSTWHEEL_CLOCK_COUNTER) {
      CHECK(stats.clock == HOSTWHEEL_CLOCK_COARSE);
    } else {
      CHECK(stats.clock == clock);
    }
    switch (stats.clock) {
    case HOSTWHEEL_CLOCK_COARSE:
      CHECK(stats.margin_ns > 0);
      break;
    case HOSTWHEEL_CLOCK_COUNTER:
      CHECK(stats.margin_ns > 0 && stats.margin_ns <= SECOND / 1000);
      break;
    default:
      CHECK(stats.margin_ns == 0);
    }
    /* A program that was built before there was the field. */
    memset(&stats, 0x5a, sizeof stats);
    OK(hostwheel_stats(wheel, &stats, offsetof(hostwheel_stats_t, clock)));
    CHECK(stats.records == 1 && stats.clock == 0x5a5a5a5au);
    hostwheel_free(wheel);
  }
}

static void strings(void) {
  int32_t code;
  for (code = 0; code >= HOSTWHEEL_ERR_ATTEMPT; code--) {
    CHECK(strlen(hostwheel_strerror(code)) > 6);
    CHECK(code == 0 || strcmp(hostwheel_strerror(code), hostwheel_strerror(code - 1)) != 0);
  }
  CHECK(strcmp(hostwheel_strerror(7), hostwheel_strerror(-1000)) == 0);
  CHECK(strcmp(hostwheel_version(), HOSTWHEEL_VERSION) == 0);
  CHECK(hostwheel_abi_version() == HOSTWHEEL_ABI_VERSION);
}

/* Ids are bytes: with NUL and 0xFF in them, 1 and 1024 long. */
static void ids(void) {
  static uint8_t longest[1024], other[1024];
  hostwheel_config_t config = manual_config(&the_log);
  hostwheel_t *wheel = open_with(&config);
  const uint8_t zero[3] = {0, 0xff, 0}, nul = 0;
  uint64_t handle, found;
  hostwheel_announced_t announced;
  memset(longest, 0xff, sizeof longest);
  memset(other, 0xff, sizeof other);
  other[1023] = 0;
  OK(hostwheel_announce(wheel, longest, 1024, SECOND, 0, 1, &announced));
  handle = announced.handle;
  OK(hostwheel_announce(wheel, other, 1024, SECOND, 0, 2, NULL));
  OK(hostwheel_announce(wheel, zero, 3, SECOND, 0, 3, NULL));
  OK(hostwheel_announce(wheel, zero, 2, SECOND, 0, 4, NULL));
  OK(hostwheel_announce(wheel, &nul, 1, SECOND, 0, 5, NULL));
  OK(hostwheel_find(wheel, longest, 1024, &found));
  CHECK(found == handle);
  OK(hostwheel_leave(wheel, zero, 2, &found));
  CHECK(found == 4);
  OK(hostwheel_leave(wheel, &nul, 1, &found));
  CHECK(found == 5);
  OK(hostwheel_leave(wheel, other, 1024, &found));
  CHECK(found == 2);
  hostwheel_free(wheel);
}

int main(void) {
  configurations();
  null_wheels();
  a_life();
  modes();
  clocks();
  strings();
  ids();
  return 0;
}
