/* Open, announce from two threads, close under fire, free: again and again. Nothing may crash, leak or hang. The number of
 * cycles may be given as an argument. */
#include "check.h"

#include <pthread.h>
#include <stdio.h>

static void ignores(void *ctx, hostwheel_event_t *events, size_t count) {
  (void)ctx;
  (void)events;
  (void)count;
}

/* Announces until the wheel is closed. */
static void *fires(void *arg) {
  hostwheel_t *wheel = (hostwheel_t *)arg;
  uint64_t handle = 0;
  int n;
  for (n = 0;; n++) {
    hostwheel_announced_t announced;
    char id[24];
    int32_t code;
    snprintf(id, sizeof id, "host-%d", n % 32);
    code = hostwheel_announce(wheel, ID(id), SECOND / 1000, 0, 0, &announced);
    if (code == HOSTWHEEL_ERR_CLOSED) {
      return NULL;
    }
    CHECK(code == 0);
    code = hostwheel_renew(wheel, handle, 0, NULL);
    CHECK(code == 0 || code == HOSTWHEEL_ERR_STALE || code == HOSTWHEEL_ERR_TAKEN || code == HOSTWHEEL_ERR_CLOSED);
    handle = announced.handle;
  }
}

/* Descriptors, threads, mappings: what a cycle may leave behind besides memory. */
static size_t lines_of(const char *path) {
  FILE *file = fopen(path, "r");
  size_t lines = 0;
  int c;
  CHECK(file != NULL);
  while ((c = getc(file)) != EOF) {
    lines += c == '\n';
  }
  fclose(file);
  return lines;
}

int main(int argc, char **argv) {
  static const uint32_t clocks[3] = {HOSTWHEEL_CLOCK_COUNTER, HOSTWHEEL_CLOCK_COARSE, HOSTWHEEL_CLOCK_PRECISE};
  int cycle, cycles = argc > 1 ? atoi(argv[1]) : 1000;
  size_t mappings = 0;
  for (cycle = 0; cycle < cycles; cycle++) {
    hostwheel_config_t config;
    hostwheel_t *wheel;
    pthread_t threads[2];
    size_t n;
    OK(hostwheel_config_init(&config, sizeof config));
    config.min_interval_ns = SECOND / 1000;
    config.grace_ns = cycle % 3 == 0 ? 0 : SECOND / 1000;
    config.brake_burst_permille = config.brake_burst_min = 0;
    config.clock = clocks[cycle / 3 % 3];
    if (cycle % 5 == 0) {
      config.delivery = HOSTWHEEL_DELIVERY_DRAIN;
    } else {
      config.on_event = ignores;
    }
    wheel = open_with(&config);
    for (n = 0; n < 2; n++) {
      CHECK(pthread_create(&threads[n], NULL, fires, wheel) == 0);
    }
    for (n = 0; n < (size_t)(cycle % 64); n++) {
      uint64_t found;
      int32_t code = hostwheel_find(wheel, ID("host-1"), &found);
      CHECK(code == 0 || code == HOSTWHEEL_ERR_NOT_FOUND);
    }
    OK(hostwheel_close(wheel, 10 * SECOND));
    for (n = 0; n < 2; n++) {
      CHECK(pthread_join(threads[n], NULL) == 0);
    }
    hostwheel_free(wheel);
    if (cycle == cycles / 2) {
      mappings = lines_of("/proc/self/maps");
    }
  }
  /* Thread stacks may be kept for the next thread, some of them. */
  CHECK(cycles < 100 || lines_of("/proc/self/maps") < mappings + 32);
  return 0;
}
