/* Eight threads announce, renew and leave on a wheel with a clock of its own, while hosts expire under them. Every user
 * data is seen exactly once in the end. The number of rounds may be given as an argument. */
#include "check.h"

#include <pthread.h>
#include <sched.h>
#include <time.h>

#define THREADS 8
#define HOSTS 64

static int rounds = 200;

/* How often each registration ended; two bits would do. */
struct book {
  pthread_mutex_t lock;
  uint8_t *ends;
  uint64_t registered, size;
};

static struct book the_book;
static hostwheel_t *the_wheel;

static uint64_t begin_life(void) {
  uint64_t number;
  pthread_mutex_lock(&the_book.lock);
  number = the_book.registered++;
  CHECK(number < the_book.size);
  pthread_mutex_unlock(&the_book.lock);
  return number;
}

static void end_life(uint64_t number) {
  pthread_mutex_lock(&the_book.lock);
  CHECK(number < the_book.registered && the_book.ends[number] == 0);
  the_book.ends[number]++;
  pthread_mutex_unlock(&the_book.lock);
}

static void on_event(void *ctx, hostwheel_event_t *events, size_t count) {
  size_t i;
  (void)ctx;
  for (i = 0; i < count; i++) {
    if (events[i].kind != HOSTWHEEL_EVENT_LEAVE) {
      continue;
    }
    if (events[i].attempt == 1) {
      end_life(events[i].user_data);
      if (events[i].user_data % 5 == 0) {
        events[i].verdict = HOSTWHEEL_VERDICT_RETRY;
        events[i].retry_after_ns = 2000000;
      }
    }
  }
}

static void on_release(void *ctx, uint64_t user_data) {
  (void)ctx;
  end_life(user_data);
}

static void *announcer(void *arg) {
  uint64_t random = (uint64_t)(size_t)arg * UINT64_C(0x9e3779b97f4a7c15) + 1, handles[HOSTS] = {0};
  int round, host;
  for (round = 0; round < rounds; round++) {
    for (host = 0; host < HOSTS; host++) {
      hostwheel_announced_t announced;
      uint64_t user_data;
      char id[32];
      int32_t code;
      random ^= random << 13;
      random ^= random >> 7;
      random ^= random << 17;
      /* All threads share the ids. After some rounds they take others, and the hosts before expire. */
      snprintf(id, sizeof id, "host-%d-%d", round / 10, host);
      switch (random % 8) {
      case 0:
        code = hostwheel_leave(the_wheel, ID(id), &user_data);
        CHECK(code == 0 || code == HOSTWHEEL_ERR_NOT_FOUND);
        if (code == 0) {
          end_life(user_data);
        }
        break;
      case 1:
      case 2:
      case 3:
        code = hostwheel_renew(the_wheel, handles[host], random % 3 * 1000000, NULL);
        CHECK(code == 0 || code == HOSTWHEEL_ERR_STALE || code == HOSTWHEEL_ERR_TAKEN);
        break;
      case 4: {
        hostwheel_host_t state;
        code = hostwheel_inspect(the_wheel, handles[host], &state, sizeof state);
        CHECK(code == 0 || code == HOSTWHEEL_ERR_STALE);
        break;
      }
      default:
        user_data = begin_life();
        OK(hostwheel_announce(the_wheel, ID(id), 10000000 + random % 20000000, 0, user_data, &announced));
        handles[host] = announced.handle;
        if (announced.outcome != HOSTWHEEL_OUTCOME_REGISTERED) {
          end_life(user_data); /* still ours */
        }
      }
    }
    if (round % 4 == 0) {
      struct timespec pause = {0, 30000000};
      nanosleep(&pause, NULL);
    } else {
      sched_yield();
    }
  }
  return NULL;
}

int main(int argc, char **argv) {
  pthread_t threads[THREADS];
  hostwheel_config_t config;
  hostwheel_stats_t stats;
  uint64_t i;
  size_t n;
  if (argc > 1) {
    rounds = atoi(argv[1]);
  }
  CHECK(pthread_mutex_init(&the_book.lock, NULL) == 0);
  the_book.size = (uint64_t)rounds * HOSTS * THREADS;
  the_book.ends = (uint8_t *)calloc(the_book.size, 1);
  CHECK(the_book.ends != NULL);
  OK(hostwheel_config_init(&config, sizeof config));
  config.min_interval_ns = 5000000;
  config.grace_ns = 10000000;
  config.brake_burst_permille = config.brake_burst_min = 0;
  config.on_event = on_event;
  config.release_user_data = on_release;
  the_wheel = open_with(&config);
  for (n = 0; n < THREADS; n++) {
    CHECK(pthread_create(&threads[n], NULL, announcer, (void *)(n + 1)) == 0);
  }
  for (n = 0; n < THREADS; n++) {
    CHECK(pthread_join(threads[n], NULL) == 0);
  }
  OK(hostwheel_stats(the_wheel, &stats, sizeof stats));
  CHECK(stats.left > 0 && stats.rescues == 0 && stats.panics == 0);
  CHECK(rounds < 100 || stats.leaves_ttl > 0);
  OK(hostwheel_close(the_wheel, 10 * SECOND));
  hostwheel_free(the_wheel);
  for (i = 0; i < the_book.registered; i++) {
    CHECK(the_book.ends[i] == 1);
  }
  free(the_book.ends);
  return 0;
}
