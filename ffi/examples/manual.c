/* A clock of one's own: for tests and simulations. Nothing waits, nothing is left to chance. */
#include <hostwheel.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define SECOND UINT64_C(1000000000)

static void on_event(void *ctx, hostwheel_event_t *events, size_t count) {
  size_t i;
  for (i = 0; i < count; i++) {
    if (events[i].kind > HOSTWHEEL_EVENT_LEAVE) {
      continue; /* a guard tells something, or a later version does */
    }
    printf("%3" PRIu64 " s: %s %.*s\n", events[i].now_ns / SECOND,
           events[i].kind == HOSTWHEEL_EVENT_SUSPECT ? "suspect" : "leave", (int)events[i].id_len,
           (const char *)events[i].id);
    *(size_t *)ctx += events[i].kind == HOSTWHEEL_EVENT_LEAVE;
  }
}

int main(void) {
  hostwheel_config_t config;
  hostwheel_t *wheel;
  size_t leaves = 0;
  uint64_t due;
  int32_t code;

  hostwheel_config_init(&config, sizeof config);
  config.clock = HOSTWHEEL_CLOCK_MANUAL;
  config.watchdog_ns = 0; /* all time counts, however far we jump */
  config.on_event = on_event;
  config.ctx = &leaves;
  if ((code = hostwheel_open(&config, &wheel)) != 0) {
    fprintf(stderr, "open: %s\n", hostwheel_strerror(code));
    return 1;
  }
  hostwheel_announce(wheel, (const uint8_t *)"every 10 s", strlen("every 10 s"), 10 * SECOND, 0, 0, NULL);
  hostwheel_announce(wheel, (const uint8_t *)"every minute", strlen("every minute"), 60 * SECOND, 0, 0, NULL);
  /* From one thing to the next, until nobody is left. */
  while (hostwheel_next_due(wheel, &due) == 0 && due != HOSTWHEEL_NEVER) {
    if ((code = hostwheel_advance(wheel, due, NULL)) != 0) {
      fprintf(stderr, "advance: %s\n", hostwheel_strerror(code));
      break;
    }
  }
  hostwheel_free(wheel);
  return leaves == 2 ? 0 : 1;
}
