/* Close and free in every order: after a close that timed out, inside a callback, without a close, around a fork. */
#include "check.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void sleep_ms(long ms) {
  struct timespec time;
  time.tv_sec = ms / 1000;
  time.tv_nsec = ms % 1000 * 1000000;
  while (nanosleep(&time, &time) != 0) {
  }
}

/* What a callback on the wheel's thread does and saw; guarded by a mutex. */
struct scene {
  pthread_mutex_t lock;
  hostwheel_t *wheel;
  int entered, leave_now, events, released, free_inside;
};

static int get(struct scene *scene, const int *what) {
  int value;
  pthread_mutex_lock(&scene->lock);
  value = *what;
  pthread_mutex_unlock(&scene->lock);
  return value;
}

static void set(struct scene *scene, int *what, int value) {
  pthread_mutex_lock(&scene->lock);
  *what = value;
  pthread_mutex_unlock(&scene->lock);
}

static void until(struct scene *scene, const int *what) {
  int tries;
  for (tries = 0; !get(scene, what); tries++) {
    CHECK(tries < 10000);
    sleep_ms(1);
  }
}

static void stays(void *ctx, hostwheel_event_t *events, size_t count) {
  struct scene *scene = (struct scene *)ctx;
  size_t n;
  (void)count;
  if (events[0].kind == HOSTWHEEL_EVENT_GUARD) {
    return; /* a busy machine makes the wheel look late */
  }
  RETURNS(HOSTWHEEL_ERR_MODE, hostwheel_advance(scene->wheel, 1, &n)); /* it has a clock of its own */
  set(scene, &scene->entered, 1);
  until(scene, &scene->leave_now);
  pthread_mutex_lock(&scene->lock);
  scene->events++;
  pthread_mutex_unlock(&scene->lock);
}

static void frees(void *ctx, hostwheel_event_t *events, size_t count) {
  struct scene *scene = (struct scene *)ctx;
  (void)count;
  if (events[0].kind == HOSTWHEEL_EVENT_GUARD) {
    return;
  }
  CHECK(get(scene, &scene->free_inside) == 0); /* no callback after this one */
  RETURNS(HOSTWHEEL_ERR_IN_CALLBACK, hostwheel_close(scene->wheel, SECOND));
  hostwheel_free(scene->wheel);
  set(scene, &scene->free_inside, 1);
}

static void notes_release(void *ctx, uint64_t user_data) {
  struct scene *scene = (struct scene *)ctx;
  CHECK(user_data == 1 || user_data == 2);
  pthread_mutex_lock(&scene->lock);
  scene->released++;
  pthread_mutex_unlock(&scene->lock);
}

static void open_scene(struct scene *scene, hostwheel_event_fn on_event) {
  hostwheel_config_t config;
  memset(scene, 0, sizeof *scene);
  CHECK(pthread_mutex_init(&scene->lock, NULL) == 0);
  OK(hostwheel_config_init(&config, sizeof config));
  config.min_interval_ns = SECOND / 100;
  config.grace_ns = 0;
  config.on_event = on_event;
  config.ctx = scene;
  config.release_user_data = notes_release;
  scene->wheel = open_with(&config);
}

static void a_close_that_times_out(void) {
  struct scene scene;
  hostwheel_announced_t announced;
  open_scene(&scene, stays);
  announce(scene.wheel, "a", SECOND / 100, 1);
  announce(scene.wheel, "b", 3600 * SECOND, 2);
  until(&scene, &scene.entered);
  RETURNS(HOSTWHEEL_ERR_TIMEOUT, hostwheel_close(scene.wheel, SECOND / 50));
  RETURNS(HOSTWHEEL_ERR_TIMEOUT, hostwheel_close(scene.wheel, 0));
  RETURNS(HOSTWHEEL_ERR_CLOSED, hostwheel_announce(scene.wheel, ID("c"), SECOND, 0, 3, &announced));
  set(&scene, &scene.leave_now, 1);
  OK(hostwheel_close(scene.wheel, 10 * SECOND));
  CHECK(get(&scene, &scene.events) == 1 && get(&scene, &scene.released) == 0);
  hostwheel_free(scene.wheel);
  CHECK(scene.released == 1);
}

/* The wheel's thread frees what it uses when it comes out of the callback. */
static void a_free_after_a_close_that_timed_out(void) {
  struct scene scene;
  open_scene(&scene, stays);
  announce(scene.wheel, "a", SECOND / 100, 1);
  announce(scene.wheel, "b", 3600 * SECOND, 2);
  until(&scene, &scene.entered);
  RETURNS(HOSTWHEEL_ERR_TIMEOUT, hostwheel_close(scene.wheel, SECOND / 50));
  /* It waits up to 5 s by itself, so let the callback go on meanwhile or after that: both end the same. */
  set(&scene, &scene.leave_now, 1);
  hostwheel_free(scene.wheel);
  until(&scene, &scene.released);
  CHECK(get(&scene, &scene.events) == 1);
}

static void a_free_inside_a_callback(void) {
  struct scene scene;
  open_scene(&scene, frees);
  announce(scene.wheel, "a", SECOND / 100, 1);
  announce(scene.wheel, "b", 3600 * SECOND, 2);
  until(&scene, &scene.free_inside);
  until(&scene, &scene.released);
  sleep_ms(20);
  CHECK(get(&scene, &scene.released) == 1); /* "a" was shown, "b" was not */
}

static void a_free_without_a_close(void) {
  struct scene scene;
  open_scene(&scene, stays);
  announce(scene.wheel, "a", 3600 * SECOND, 1);
  hostwheel_free(scene.wheel);
  CHECK(scene.released == 1 && scene.events == 0);
}

/* In a forked child every call says so and frees nothing; in the parent the wheel works on. */
static void a_fork(void) {
  struct scene scene;
  hostwheel_announced_t announced;
  pid_t child;
  int status = 0;
  uint64_t handle, found = 77;
  hostwheel_stats_t stats;
  open_scene(&scene, stays);
  set(&scene, &scene.leave_now, 1);
  handle = announce(scene.wheel, "a", 3600 * SECOND, 1);
  child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    hostwheel_config_t config;
    static struct log log;
    hostwheel_t *own;
    alarm(20); /* whoever waits for the parent's thread waits for ever */
    RETURNS(HOSTWHEEL_ERR_FORKED, hostwheel_announce(scene.wheel, ID("b"), SECOND, 0, 2, &announced));
    RETURNS(HOSTWHEEL_ERR_FORKED, hostwheel_renew(scene.wheel, handle, 0, NULL));
    RETURNS(HOSTWHEEL_ERR_FORKED, hostwheel_leave(scene.wheel, ID("a"), &found));
    RETURNS(HOSTWHEEL_ERR_FORKED, hostwheel_leave_handle(scene.wheel, handle, &found));
    RETURNS(HOSTWHEEL_ERR_FORKED, hostwheel_find(scene.wheel, ID("a"), &found));
    RETURNS(HOSTWHEEL_ERR_FORKED, hostwheel_stats(scene.wheel, &stats, sizeof stats));
    RETURNS(HOSTWHEEL_ERR_FORKED, hostwheel_close(scene.wheel, SECOND));
    CHECK(found == 77);
    hostwheel_free(scene.wheel);
    CHECK(scene.released == 0);
    /* A wheel of its own works. */
    config = manual_config(&log);
    own = open_with(&config);
    announce(own, "c", SECOND, 3);
    OK(hostwheel_advance(own, 3 * SECOND, NULL));
    OK(hostwheel_close(own, SECOND));
    hostwheel_free(own);
    _exit(0);
  }
  CHECK(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  OK(hostwheel_renew(scene.wheel, handle, 0, NULL));
  OK(hostwheel_close(scene.wheel, 10 * SECOND));
  hostwheel_free(scene.wheel);
  CHECK(scene.released == 1);
}

int main(int argc, char **argv) {
  a_close_that_times_out();
  a_free_after_a_close_that_timed_out();
  a_free_inside_a_callback();
  a_free_without_a_close();
  /* A child leaks the wheel by design, which a leak checker need not be told of. */
  if (argc < 2 || strcmp(argv[1], "no-fork") != 0) {
    a_fork();
  }
  return 0;
}
