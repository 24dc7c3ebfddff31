/* The shortest useful program: hosts announce themselves, one falls silent, and the wheel calls when it has gone.
 *
 *   gcc simple.c $(pkg-config --cflags --libs hostwheel) && ./a.out
 */
#include <hostwheel.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define MS UINT64_C(1000000)

/* On the wheel's thread. A real scheduler removes the host here, if the handle is still the one that it keeps. */
static void on_event(void *ctx, hostwheel_event_t *events, size_t count) {
  const char *names[] = {"?", "suspect", "recovered", "leave"};
  size_t i;
  (void)ctx;
  for (i = 0; i < count; i++) {
    const hostwheel_event_t *event = &events[i];
    if (event->kind > HOSTWHEEL_EVENT_LEAVE) {
      continue; /* a guard tells something, or a later version does */
    }
    printf("%s: %.*s, not heard for %" PRIu64 " ms\n", names[event->kind], (int)event->id_len, (const char *)event->id,
           (event->now_ns - event->last_seen_ns) / MS);
    /* verdict is HOSTWHEEL_VERDICT_DONE already; HOSTWHEEL_VERDICT_RETRY would have the leave handed out again. */
  }
}

static int fail(const char *what, int32_t code) {
  fprintf(stderr, "%s: %s\n", what, hostwheel_strerror(code));
  return 1;
}

int main(void) {
  hostwheel_config_t config;
  hostwheel_t *wheel;
  hostwheel_announced_t steady, dying;
  struct timespec pause = {0, 50000000};
  int32_t code;
  int i;

  hostwheel_config_init(&config, sizeof config);
  config.min_interval_ns = 50 * MS; /* the default, 1 s, would make this program slow to watch */
  config.on_event = on_event;
  if ((code = hostwheel_open(&config, &wheel)) != 0) {
    return fail("open", code);
  }
  /* Each announce says how often the host announces. Its TTL is twice that; a grace follows. */
  if ((code = hostwheel_announce(wheel, (const uint8_t *)"steady", strlen("steady"), 100 * MS, 0, 1, &steady)) != 0 ||
      (code = hostwheel_announce(wheel, (const uint8_t *)"dying", strlen("dying"), 100 * MS, 0, 2, &dying)) != 0) {
    hostwheel_free(wheel);
    return fail("announce", code);
  }
  /* The cheapest announce is by handle. One of the two does not announce again. */
  for (i = 0; i < 12; i++) {
    nanosleep(&pause, NULL);
    if ((code = hostwheel_renew(wheel, steady.handle, 0, NULL)) != 0) {
      fprintf(stderr, "renew: %s\n", hostwheel_strerror(code));
    }
  }
  hostwheel_close(wheel, 1000 * MS);
  hostwheel_free(wheel);
  return 0;
}
