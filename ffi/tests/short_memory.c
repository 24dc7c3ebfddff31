/* A process short of memory: whatever the system refuses, and when, the wheel ends in an error or goes on, and loses no host.
 *
 * Each run is a process of its own, which limits its address space or its data, in steps of 64 KiB, opens a wheel, registers hosts
 * until there is no memory, eats what is left, has the hosts expire, and gives memory back. Every twentieth of 200 steps is run;
 * HOSTWHEEL_MEMORY_STEPS=200 runs all of so many. */
#include "check.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STEP (64 * 1024)
#define HOSTS 2000

enum mode { CALLBACKS, DRAINED, MANUAL, MODES };

enum ending { WELL = 0, UNOPENED = 10, WRONG_ERROR = 20, STUCK = 22 };

static const char *const mode_names[MODES] = {"callbacks", "drained", "manual"};

static volatile uint64_t gone;

/* Each leave is asked for twice. */
static void on_event(void *ctx, hostwheel_event_t *events, size_t count) {
  size_t i;
  (void)ctx;
  for (i = 0; i < count; i++) {
    if (events[i].kind == HOSTWHEEL_EVENT_LEAVE) {
      if (events[i].attempt == 1) {
        events[i].verdict = HOSTWHEEL_VERDICT_RETRY;
        events[i].retry_after_ns = SECOND / 200;
      } else {
        gone++;
      }
    }
  }
}

/* What the process has of a resource now. */
static rlim_t used(int resource) {
  unsigned long pages[6] = {0};
  FILE *statm = fopen("/proc/self/statm", "r");
  CHECK(statm != NULL);
  CHECK(fscanf(statm, "%lu %lu %lu %lu %lu %lu", &pages[0], &pages[1], &pages[2], &pages[3], &pages[4], &pages[5]) == 6);
  fclose(statm);
  return (rlim_t)pages[resource == RLIMIT_AS ? 0 : 5] * 4096;
}

/* The limits of a resource have a type of their own in glibc's C++, none in C; this takes either. */
static void limit(int resource, rlim_t bytes) {
  struct rlimit both;
  both.rlim_cur = bytes;
  both.rlim_max = RLIM_INFINITY;
  CHECK((resource == RLIMIT_AS ? setrlimit(RLIMIT_AS, &both) : setrlimit(RLIMIT_DATA, &both)) == 0);
}

static void **eat(void) {
  static const size_t sizes[] = {1 << 20, 64 << 10, 4 << 10, 256, 32, 16};
  void **last = NULL, **piece;
  size_t i;
  for (i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    while ((piece = (void **)malloc(sizes[i])) != NULL) {
      *piece = last;
      last = piece;
    }
  }
  return last;
}

static void give_back(void **piece) {
  while (piece != NULL) {
    void **before = (void **)*piece;
    free(piece);
    piece = before;
  }
}

/* Lets a millisecond pass, and answers what there is to answer. */
static void pass(hostwheel_t *wheel, enum mode mode, uint64_t *now_ns) {
  static const struct timespec millisecond = {0, 1000000};
  static hostwheel_event_t events[64];
  size_t count = 0, i;
  int32_t code;
  nanosleep(&millisecond, NULL);
  if (mode == MANUAL) {
    *now_ns += SECOND / 1000;
    if (hostwheel_advance(wheel, *now_ns, NULL) != 0) _exit(WRONG_ERROR);
  }
  if (mode != DRAINED) return;
  code = hostwheel_drain(wheel, events, 64, &count);
  if (code != 0 && code != HOSTWHEEL_ERR_NO_MEMORY) _exit(WRONG_ERROR);
  for (i = 0; i < count; i++) {
    if (events[i].kind == HOSTWHEEL_EVENT_LEAVE &&
        hostwheel_settle(wheel, events[i].handle, events[i].attempt, HOSTWHEEL_VERDICT_DONE, 0) == 0)
      gone++;
  }
}

static void run(enum mode mode, int resource, rlim_t bytes) {
  hostwheel_config_t config;
  hostwheel_stats_t stats;
  hostwheel_t *wheel;
  uint64_t now_ns = 0, registered, rounds;
  int32_t code;
  void **eaten;
  OK(hostwheel_config_init(&config, sizeof config));
  if (mode == MANUAL) config.clock = HOSTWHEEL_CLOCK_MANUAL;
  config.min_interval_ns = config.grace_ns = SECOND / 50;
  config.settle_timeout_ns = SECOND / 5;
  config.brake_burst_permille = config.brake_burst_min = 0;
  config.silence_expected = 0;
  config.max_hosts = 4096;
  if (mode == DRAINED) {
    config.delivery = HOSTWHEEL_DELIVERY_DRAIN;
  } else {
    config.on_event = on_event;
  }
  limit(resource, used(resource) + bytes);
  code = hostwheel_open(&config, &wheel);
  if (code != 0) _exit(code == HOSTWHEEL_ERR_OS ? UNOPENED : WRONG_ERROR);
  for (registered = 0; registered < HOSTS; registered++) {
    uint8_t id[200] = {0};
    memcpy(id, &registered, sizeof registered);
    code = hostwheel_announce(wheel, id, 8 + registered * 37 % 192, SECOND / 50, 0, 0, NULL);
    if (code == HOSTWHEEL_ERR_NO_MEMORY) break;
    if (code != 0) _exit(WRONG_ERROR);
  }
  eaten = eat();
  for (rounds = 0; rounds < 150; rounds++) pass(wheel, mode, &now_ns);
  give_back(eaten);
  /* An allocator may keep what it was given back where the wheel's thread finds none of it. */
  limit(resource, RLIM_INFINITY);
  for (rounds = 0; gone < registered; rounds++) {
    if (rounds > 20000) _exit(STUCK);
    pass(wheel, mode, &now_ns);
  }
  if (hostwheel_stats(wheel, &stats, sizeof stats) != 0 || stats.live != 0 || stats.registered != registered ||
      stats.leaves_ttl != registered)
    _exit(WRONG_ERROR);
  _exit(WELL);
}

int main(void) {
  static const int resources[2] = {RLIMIT_AS, RLIMIT_DATA};
  const char *all = getenv("HOSTWHEEL_MEMORY_STEPS");
  int steps = all != NULL ? atoi(all) : 200, stride = all != NULL ? 1 : 20, mode, which, step, wrong = 0;
  for (mode = 0; mode < MODES; mode++) {
    for (which = 0; which < 2; which++) {
      int counts[2] = {0, 0}, status, running = 0;
      for (step = 0; step < steps || running > 0; step += stride) {
        if (step < steps) {
          pid_t child = fork();
          CHECK(child >= 0);
          if (child == 0) run((enum mode)mode, resources[which], (rlim_t)step * STEP);
          if (++running < 8) continue;
        }
        CHECK(wait(&status) > 0);
        running--;
        if (WIFEXITED(status) && (WEXITSTATUS(status) == WELL || WEXITSTATUS(status) == UNOPENED)) {
          counts[WEXITSTATUS(status) == WELL]++;
        } else {
          fprintf(stderr, "%s, limit %d: status %#x\n", mode_names[mode], which, (unsigned)status);
          wrong++;
        }
      }
      printf("%s, %s: %d went on, %d did not open\n", mode_names[mode], which == 0 ? "RLIMIT_AS" : "RLIMIT_DATA", counts[1],
             counts[0]);
    }
  }
  CHECK(wrong == 0);
  return 0;
}
