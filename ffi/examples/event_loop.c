/* A program with an event loop of its own: epoll waits for announces on a UDP socket and for the wheel's events, and one
 * thread does everything. So that it can be run, it also plays the hosts: a child process that sends announces and stops.
 */
#define _POSIX_C_SOURCE 200809L
#include <hostwheel.h>

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MS UINT64_C(1000000)
#define HOSTS 5

static void die(const char *what) {
  perror(what);
  exit(1);
}

static void check(const char *what, int32_t code) {
  if (code != 0) {
    fprintf(stderr, "%s: %s\n", what, hostwheel_strerror(code));
    exit(1);
  }
}

/* The hosts: each datagram is an id. Host n announces itself n + 1 times. */
static void play_hosts(const struct sockaddr_in *to) {
  int fd = socket(AF_INET, SOCK_DGRAM, 0), round, host;
  struct timespec pause = {0, 50000000};
  if (fd < 0) {
    die("socket");
  }
  for (round = 0; round < HOSTS; round++) {
    for (host = round; host < HOSTS; host++) {
      char id[24];
      snprintf(id, sizeof id, "host-%d", host);
      if (sendto(fd, id, strlen(id), 0, (const struct sockaddr *)to, sizeof *to) < 0) {
        die("sendto");
      }
    }
    nanosleep(&pause, NULL);
  }
  close(fd);
}

static void receive(int fd, hostwheel_t *wheel) {
  uint8_t id[1024];
  ssize_t length;
  while ((length = recv(fd, id, sizeof id, MSG_DONTWAIT)) > 0) {
    check("announce", hostwheel_announce(wheel, id, (size_t)length, 50 * MS, 0, 0, NULL));
  }
  if (length < 0 && errno != EAGAIN && errno != EWOULDBLOCK) {
    die("recv");
  }
}

/* Returns how many hosts have gone. */
static int drain(hostwheel_t *wheel) {
  hostwheel_event_t events[16];
  size_t count, i;
  int gone = 0;
  do {
    check("drain", hostwheel_drain(wheel, events, 16, &count));
    for (i = 0; i < count; i++) {
      if (events[i].kind == HOSTWHEEL_EVENT_LEAVE) {
        printf("%.*s has gone\n", (int)events[i].id_len, (const char *)events[i].id);
        /* The id lives until here. A program that hands the work to others settles when they are done. */
        check("settle",
              hostwheel_settle(wheel, events[i].handle, events[i].attempt, HOSTWHEEL_VERDICT_DONE, 0));
        gone++;
      }
    }
  } while (count > 0);
  return gone;
}

int main(void) {
  struct sockaddr_in address;
  socklen_t length = sizeof address;
  struct epoll_event interest, ready[2];
  hostwheel_config_t config;
  hostwheel_t *wheel;
  int fd, events_fd, epoll, gone = 0;
  pid_t hosts;

  memset(&address, 0, sizeof address);
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  fd = socket(AF_INET, SOCK_DGRAM, 0);
  if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0 ||
      getsockname(fd, (struct sockaddr *)&address, &length) != 0) {
    die("socket");
  }
  /* Before the wheel is opened: a wheel works in the process that opened it only. */
  hosts = fork();
  if (hosts < 0) {
    die("fork");
  }
  if (hosts == 0) {
    play_hosts(&address);
    _exit(0);
  }

  check("config", hostwheel_config_init(&config, sizeof config));
  config.delivery = HOSTWHEEL_DELIVERY_DRAIN;
  config.min_interval_ns = 50 * MS;
  check("open", hostwheel_open(&config, &wheel));
  check("event_fd", hostwheel_event_fd(wheel, &events_fd));

  epoll = epoll_create1(0);
  memset(&interest, 0, sizeof interest);
  interest.events = EPOLLIN;
  interest.data.fd = fd;
  if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &interest) != 0) {
    die("epoll");
  }
  interest.data.fd = events_fd;
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, events_fd, &interest) != 0) {
    die("epoll");
  }
  while (gone < HOSTS) {
    int n = epoll_wait(epoll, ready, 2, 10000), i;
    if (n == 0 || (n < 0 && errno != EINTR)) {
      fprintf(stderr, "nothing happens\n");
      return 1;
    }
    for (i = 0; i < n; i++) {
      if (ready[i].data.fd == fd) {
        receive(fd, wheel);
      } else {
        gone += drain(wheel);
      }
    }
  }
  check("close", hostwheel_close(wheel, 1000 * MS));
  hostwheel_free(wheel);
  close(epoll);
  close(fd);
  return waitpid(hosts, NULL, 0) == hosts ? 0 : 1;
}
