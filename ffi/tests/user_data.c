/* Each user data goes exactly one way: to a leave function, to a leave event, or to release_user_data. */
#include "check.h"

static struct log the_log;

static int released(uint64_t user_data) {
  size_t i;
  int times = 0;
  for (i = 0; i < the_log.releases; i++) {
    times += the_log.released[i] == user_data;
  }
  return times;
}

static hostwheel_t *open_releasing(struct log *log) {
  hostwheel_config_t config = manual_config(log);
  config.ctx = &the_log;
  config.release_user_data = log_release;
  memset(&the_log, 0, sizeof the_log);
  return open_with(&config);
}

static void with_callbacks(void) {
  hostwheel_t *wheel = open_releasing(&the_log);
  hostwheel_announced_t announced;
  uint64_t user_data = 77, handle;
  RETURNS(HOSTWHEEL_ERR_NULL_ARG, hostwheel_announce(wheel, ID("a"), SECOND, 0, 1, NULL));
  RETURNS(HOSTWHEEL_ERR_NOT_FOUND, hostwheel_find(wheel, ID("a"), &handle));
  announce(wheel, "leaves", SECOND, 1);
  announce(wheel, "leaves silently", SECOND, 2);
  handle = announce(wheel, "leaves by handle", SECOND, 3);
  announce(wheel, "dies", SECOND, 4);
  announce(wheel, "lives", 60 * SECOND, 5);
  announce(wheel, "suspect", 10 * SECOND, 6);
  /* Known: 7 stays the program's. */
  OK(hostwheel_announce(wheel, ID("lives"), 60 * SECOND, 0, 7, &announced));
  CHECK(announced.outcome == HOSTWHEEL_OUTCOME_RENEWED);
  OK(hostwheel_leave(wheel, ID("leaves"), &user_data));
  CHECK(user_data == 1 && the_log.releases == 0);
  OK(hostwheel_leave(wheel, ID("leaves silently"), NULL));
  CHECK(the_log.releases == 1 && released(2) == 1);
  OK(hostwheel_leave_handle(wheel, handle, NULL));
  CHECK(the_log.releases == 2 && released(3) == 1);
  OK(hostwheel_advance(wheel, 2 * SECOND, NULL));
  OK(hostwheel_advance(wheel, 3 * SECOND, NULL));
  CHECK(logged(&the_log, HOSTWHEEL_EVENT_LEAVE) == 1);
  OK(hostwheel_advance(wheel, 20 * SECOND, NULL));
  /* Shown once, whatever the verdict: the program's. */
  announce(wheel, "retried", SECOND, 8);
  the_log.verdict = HOSTWHEEL_VERDICT_RETRY;
  OK(hostwheel_advance(wheel, 22 * SECOND, NULL));
  OK(hostwheel_advance(wheel, 23 * SECOND, NULL));
  CHECK(logged(&the_log, HOSTWHEEL_EVENT_LEAVE) == 2);
  announce(wheel, "new", SECOND, 9);
  OK(hostwheel_close(wheel, SECOND));
  CHECK(the_log.releases == 2);
  hostwheel_free(wheel);
  CHECK(the_log.releases == 5 && released(5) == 1 && released(6) == 1 && released(9) == 1);
}

static void with_drains(void) {
  hostwheel_t *wheel = open_releasing(NULL);
  hostwheel_event_t events[8];
  size_t count = 0;
  announce(wheel, "drained and settled", SECOND, 1);
  announce(wheel, "drained", 2 * SECOND, 2);
  OK(hostwheel_advance(wheel, 2 * SECOND, NULL));
  OK(hostwheel_drain(wheel, events, 8, &count));
  CHECK(count == 1 && events[0].kind == HOSTWHEEL_EVENT_SUSPECT && events[0].user_data == 1);
  OK(hostwheel_advance(wheel, 3 * SECOND, NULL));
  OK(hostwheel_drain(wheel, events, 8, &count));
  CHECK(count == 1 && events[0].kind == HOSTWHEEL_EVENT_LEAVE && events[0].user_data == 1);
  OK(hostwheel_settle(wheel, events[0].handle, 1, HOSTWHEEL_VERDICT_DONE, 0));
  OK(hostwheel_advance(wheel, 4 * SECOND, NULL));
  OK(hostwheel_drain(wheel, events, 8, &count));
  CHECK(count == 1 && events[0].kind == HOSTWHEEL_EVENT_SUSPECT && events[0].user_data == 2);
  /* Nobody has left before that was drained. */
  OK(hostwheel_advance(wheel, 6 * SECOND, NULL));
  OK(hostwheel_drain(wheel, events, 8, &count));
  CHECK(count == 1 && events[0].kind == HOSTWHEEL_EVENT_LEAVE && events[0].user_data == 2);
  announce(wheel, "in the queue", SECOND, 3);
  OK(hostwheel_advance(wheel, 8 * SECOND, NULL));
  OK(hostwheel_drain(wheel, events, 8, &count));
  CHECK(count == 1);
  OK(hostwheel_advance(wheel, 9 * SECOND, NULL));
  hostwheel_free(wheel); /* without a close */
  CHECK(the_log.releases == 1 && released(3) == 1);
}

/* On the manual clock, and inside a walk, the call that the callback is inside of frees the wheel. */
static hostwheel_t *the_wheel;

static void frees(void *ctx, hostwheel_event_t *events, size_t count) {
  (void)ctx;
  CHECK(count == 1);
  the_log.count++;
  if (events[0].kind == HOSTWHEEL_EVENT_LEAVE) {
    hostwheel_free(the_wheel);
  }
}

static int32_t frees_in_a_walk(void *ctx, const hostwheel_host_t *host) {
  CHECK(host->id_len > 0);
  if (++*(int *)ctx == 2) {
    hostwheel_free(the_wheel);
  }
  return 0;
}

static void freed_inside(void) {
  hostwheel_config_t config = manual_config(&the_log);
  int walked = 0;
  memset(&the_log, 0, sizeof the_log);
  config.grace_ns = 0;
  config.on_event = frees;
  config.release_user_data = log_release;
  the_wheel = open_with(&config);
  announce(the_wheel, "a", SECOND, 1);
  announce(the_wheel, "b", SECOND, 2);
  announce(the_wheel, "c", 60 * SECOND, 3);
  OK(hostwheel_advance(the_wheel, 2 * SECOND, NULL));
  /* One of two was shown; nobody is called after the free. */
  CHECK(the_log.count == 1 && the_log.releases == 2 && released(3) == 1 && released(1) + released(2) == 1);

  memset(&the_log, 0, sizeof the_log);
  the_wheel = open_with(&config);
  announce(the_wheel, "a", SECOND, 1);
  announce(the_wheel, "b", SECOND, 2);
  announce(the_wheel, "c", SECOND, 3);
  OK(hostwheel_each(the_wheel, frees_in_a_walk, &walked));
  CHECK(walked == 3 && the_log.releases == 3);
}

int main(void) {
  freed_inside();
  with_callbacks();
  with_drains();
  return 0;
}
