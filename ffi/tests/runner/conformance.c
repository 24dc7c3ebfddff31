/*
 * Runs conformance traces on the C ABI: conformance FILE...
 *
 * The format is described in tests/conformance/README.md. Ends at the first difference with status 1, after naming file and
 * line; else it says how many traces passed and how many were skipped for lack of a feature.
 */
#include "answer.h"

#include <stdarg.h>
#include <stddef.h>

#define LONGEST_LINE 4095
#define MOST_WORDS 64
#define MOST_EVENTS 256
#define MOST_HANDLES 256

/* The trace that runs. */
struct run {
  const char *file;
  unsigned line;
  char text[LONGEST_LINE + 2];
  char *words[MOST_WORDS];
  size_t count;
  unsigned step_line; /* of the last step; 0: none yet */
  hostwheel_config_t config;
  hostwheel_t *wheel;
  struct answer answer;
  struct answer events[MOST_EVENTS];
  size_t event_count;
  struct {
    char name[16];
    uint64_t handle;
  } handles[MOST_HANDLES];
  size_t handle_count;
};

static void fail(const struct run *run, unsigned line, const char *format, ...) {
  va_list arguments;
  fprintf(stderr, "%s:%u: ", run->file, line);
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  fputc('\n', stderr);
  exit(1);
}

/* Events. */

static void note(struct run *run, const hostwheel_event_t *event) {
  static const char *const kinds[] = {"?", "suspect", "recovered", "leave"};
  static const char *const reasons[] = {"?", "ttl", "host_ttl", "backstop"};
  char id[2 * LONGEST_ID + 1] = "";
  struct answer *answer;
  size_t i;
  if (event->kind == HOSTWHEEL_EVENT_GUARD) {
    return; /* Traces tell of hosts. */
  }
  answer = &run->events[run->event_count++];
  if (run->event_count > MOST_EVENTS) {
    fail(run, run->line, "more than %d events", MOST_EVENTS);
  }
  for (i = 0; i < event->id_len; i++) {
    snprintf(id + 2 * i, 3, "%02x", event->id[i]);
  }
  begin(answer, kinds[event->kind <= HOSTWHEEL_EVENT_LEAVE ? event->kind : 0]);
  answer->handle = event->handle;
  put(answer, "id", id);
  put(answer, "reason", reasons[event->reason <= HOSTWHEEL_REASON_BACKSTOP ? event->reason : 0]);
  put_number(answer, "attempt", event->attempt);
  put_number(answer, "superseded", event->flags & HOSTWHEEL_EVENT_SUPERSEDED);
  put_number(answer, "data", event->user_data);
  put_ms(answer, "interval", event->interval_ns);
  put_ms(answer, "last_seen", event->last_seen_ns);
  put_ms(answer, "deadline", event->deadline_ns);
  put_ms(answer, "now", event->now_ns);
  put_ms(answer, "lateness", event->lateness_ns);
  put_ms(answer, "away", event->away_ns);
  put_ms(answer, "held", event->brake_ns);
}

static void on_event(void *ctx, hostwheel_event_t *events, size_t count) {
  size_t i;
  for (i = 0; i < count; i++) {
    note((struct run *)ctx, &events[i]);
  }
}

static int32_t drain(struct run *run) {
  hostwheel_event_t events[16];
  size_t count, i;
  int32_t code;
  do {
    code = hostwheel_drain(run->wheel, events, 16, &count);
    for (i = 0; code == 0 && i < count; i++) {
      note(run, &events[i]);
    }
  } while (code == 0 && count > 0);
  /* A wheel that is closed gives out what it made before, and then says so. */
  return code == HOSTWHEEL_ERR_CLOSED ? 0 : code;
}

/* The words of a line. */

static const char *argument(const struct run *run, const char *key) {
  size_t i, length = strlen(key);
  for (i = 1; i < run->count && strcmp(run->words[i], "->") != 0; i++) {
    if (strncmp(run->words[i], key, length) == 0 && run->words[i][length] == '=') {
      return run->words[i] + length + 1;
    }
  }
  return NULL;
}

static uint64_t parse_number(const struct run *run, const char *text) {
  char *end = NULL;
  uint64_t number = strtoull(text, &end, 10);
  if (*text < '0' || *text > '9' || *end != 0) {
    fail(run, run->line, "%s is not a number", text);
  }
  return number;
}

static uint64_t number(const struct run *run, const char *key) {
  const char *text = argument(run, key);
  return text == NULL ? 0 : parse_number(run, text);
}

static uint64_t ns(const struct run *run, const char *key) {
  uint64_t ms = number(run, key);
  return ms > UINT64_MAX / MS ? UINT64_MAX : ms * MS;
}

static size_t id(const struct run *run, uint8_t *bytes) {
  const char *text = argument(run, "id");
  unsigned byte;
  size_t length = 0;
  if (text == NULL || strlen(text) % 2 != 0) {
    fail(run, run->line, "id= is missing, or has half a byte");
  }
  for (; *text != 0 && length <= LONGEST_ID; text += 2) {
    if (sscanf(text, "%2x", &byte) != 1) {
      fail(run, run->line, "%s is not in hex", text);
    }
    bytes[length++] = (uint8_t)byte;
  }
  return length;
}

static const char *name_of(const struct run *run, uint64_t handle) {
  size_t i;
  for (i = 0; i < run->handle_count; i++) {
    if (run->handles[i].handle == handle) {
      return run->handles[i].name;
    }
  }
  return NULL;
}

/* 0: the name stands for no handle yet. */
static uint64_t handle_of(const struct run *run, const char *name) {
  size_t i;
  for (i = 0; i < run->handle_count; i++) {
    if (strcmp(run->handles[i].name, name) == 0) {
      return run->handles[i].handle;
    }
  }
  return 0;
}

static uint64_t handle(const struct run *run) {
  const char *name = argument(run, "handle");
  uint64_t found = name == NULL ? 0 : handle_of(run, name);
  if (found == 0) {
    fail(run, run->line, "%s was not bound", name == NULL ? "handle=" : name);
  }
  return found;
}

static void bind_handle(struct run *run, const char *name, uint64_t handle) {
  const char *other = name_of(run, handle);
  if (other != NULL || handle_of(run, name) != 0) {
    fail(run, run->line, "handle: %s is given to that of %s", name, other != NULL ? other : "another");
  }
  if (handle == 0 || run->handle_count == MOST_HANDLES || strlen(name) >= sizeof run->handles[0].name) {
    fail(run, run->line, "no handle, or no room for %s", name);
  }
  strcpy(run->handles[run->handle_count].name, name);
  run->handles[run->handle_count++].handle = handle;
}

/* Operations. */

static int32_t announce(struct run *run, struct answer *answer) {
  uint8_t bytes[LONGEST_ID + 1];
  size_t length = id(run, bytes);
  hostwheel_announced_t announced;
  int32_t code = hostwheel_announce(run->wheel, bytes, length, ns(run, "interval"), ns(run, "age"), number(run, "data"),
                                    &announced);
  if (code == 0) {
    begin(answer, outcome_name(announced.outcome));
    answer->handle = announced.handle;
    put_ms(answer, "interval", announced.interval_ns);
    put_number(answer, "clamped", announced.flags & HOSTWHEEL_ANNOUNCED_CLAMPED);
  }
  return code;
}

static int32_t renew(struct run *run, struct answer *answer) {
  uint32_t outcome;
  int32_t code = hostwheel_renew(run->wheel, handle(run), ns(run, "age"), &outcome);
  if (code == 0) {
    begin(answer, outcome_name(outcome));
  }
  return code;
}

static int32_t replace(struct run *run, struct answer *answer) {
  uint8_t bytes[LONGEST_ID + 1];
  size_t length = id(run, bytes);
  hostwheel_announced_t announced;
  uint64_t ended = 0, ended_data = 0;
  int32_t code = hostwheel_replace(run->wheel, bytes, length, ns(run, "interval"), number(run, "data"), &announced,
                                   &ended, &ended_data);
  if (code == 0) {
    begin(answer, outcome_name(announced.outcome));
    answer->handle = announced.handle;
    put_ms(answer, "interval", announced.interval_ns);
    put_number(answer, "clamped", announced.flags & HOSTWHEEL_ANNOUNCED_CLAMPED);
    put_number(answer, "ended", ended != 0);
    put_number(answer, "ended_data", ended_data);
  }
  return code;
}

static int32_t leave(struct run *run, struct answer *answer) {
  uint8_t bytes[LONGEST_ID + 1];
  size_t length = id(run, bytes);
  uint64_t data = 0;
  int32_t code = hostwheel_leave(run->wheel, bytes, length, &data);
  put_number(answer, "data", data);
  return code;
}

static int32_t leave_handle(struct run *run, struct answer *answer) {
  uint64_t data = 0;
  int32_t code = hostwheel_leave_handle(run->wheel, handle(run), &data);
  put_number(answer, "data", data);
  return code;
}

static int32_t find(struct run *run, struct answer *answer) {
  uint8_t bytes[LONGEST_ID + 1];
  size_t length = id(run, bytes);
  return hostwheel_find(run->wheel, bytes, length, &answer->handle);
}

static int32_t inspect(struct run *run, struct answer *answer) {
  static const char *const states[] = {"?", "live", "suspect", "taken"};
  static const char *const holds[] = {"no", "silence", "brake", "outstanding", "?"};
  hostwheel_host_t host;
  int32_t code = hostwheel_inspect(run->wheel, handle(run), &host, sizeof host);
  if (code == 0) {
    begin(answer, states[host.state <= HOSTWHEEL_STATE_TAKEN ? host.state : 0]);
    answer->handle = host.handle;
    put_number(answer, "data", host.user_data);
    put_ms(answer, "interval", host.interval_ns);
    put_ms(answer, "last_seen", host.last_seen_ns);
    put_ms(answer, "age", host.age_ns);
    put_ms(answer, "deadline", host.deadline_ns);
    put_ms(answer, "leaves_at", host.leaves_at_ns);
    put_ms(answer, "suspect_since", host.suspect_since_ns);
    put_ms(answer, "held_since", host.held_since_ns);
    put(answer, "held_by", holds[host.held_by <= HOSTWHEEL_HELD_OUTSTANDING ? host.held_by : 4]);
  }
  return code;
}

static int32_t settle(struct run *run, struct answer *answer) {
  int retry = argument(run, "retry") != NULL;
  uint32_t verdict = retry ? HOSTWHEEL_VERDICT_RETRY : HOSTWHEEL_VERDICT_DONE;
  (void)answer;
  return hostwheel_settle(run->wheel, handle(run), (uint32_t)number(run, "attempt"), verdict, ns(run, "retry"));
}

static int32_t stats(struct run *run, struct answer *answer) {
  hostwheel_stats_t stats;
  int32_t code = hostwheel_stats(run->wheel, &stats, sizeof stats);
  put_number(answer, "live", stats.live);
  put_number(answer, "suspect", stats.suspect);
  put_number(answer, "registered", stats.registered);
  put_number(answer, "left", stats.left);
  put_number(answer, "leaves_ttl", stats.leaves_ttl);
  put_number(answer, "leaves_host_ttl", stats.leaves_host_ttl);
  put_number(answer, "suspects", stats.suspects);
  put_number(answer, "recoveries", stats.recoveries);
  put_number(answer, "retries", stats.retries);
  put_number(answer, "superseded", stats.superseded);
  put_number(answer, "clamps", stats.clamps);
  put_number(answer, "rescues", stats.rescues);
  put_number(answer, "outstanding", stats.outstanding);
  put_number(answer, "waiting", stats.waiting);
  put_number(answer, "silences", stats.silences);
  put_ms(answer, "silence", stats.silence_ns);
  put_ms(answer, "brake", stats.brake_ns);
  put_ms(answer, "away", stats.away_ns);
  put_ms(answer, "now", stats.now_ns);
  put_ms(answer, "lateness_max", stats.lateness_max_ns);
  return code;
}

static int32_t close_wheel(struct run *run, struct answer *answer) {
  (void)answer;
  return hostwheel_close(run->wheel, 10000 * MS);
}

static int32_t release(struct run *run, struct answer *answer) {
  (void)answer;
  return hostwheel_release(run->wheel);
}

static int32_t advance_undrained(struct run *run, struct answer *answer) {
  size_t made = 0;
  int32_t code = hostwheel_advance(run->wheel, ns(run, "to"), &made);
  put_number(answer, "made", made);
  return code;
}

static int32_t drain_all(struct run *run, struct answer *answer) {
  int32_t code = drain(run);
  put_number(answer, "events", run->event_count);
  return code;
}

/* A small queue is filled several times, so this goes on until an advance to the same time brings nothing more. */
static int32_t advance(struct run *run, struct answer *answer) {
  size_t made = 0;
  int32_t code;
  do {
    code = hostwheel_advance(run->wheel, ns(run, "to"), &made);
    if (code == 0 && run->config.delivery == HOSTWHEEL_DELIVERY_DRAIN) {
      code = drain(run);
    }
  } while (code == 0 && made > 0);
  put_number(answer, "events", run->event_count);
  return code;
}

static int32_t perform(struct run *run, struct answer *answer) {
  static const struct {
    const char *name;
    int32_t (*operation)(struct run *, struct answer *);
  } operations[] = {
      {"announce", announce},         {"renew", renew},
      {"replace", replace},
      {"leave", leave},               {"leave_handle", leave_handle},
      {"find", find},                 {"inspect", inspect},
      {"settle", settle},             {"stats", stats},
      {"close", close_wheel},         {"release", release},
      {"advance", advance},           {"advance_undrained", advance_undrained},
      {"drain", drain_all},
  };
  size_t i;
  for (i = 0; i < sizeof operations / sizeof *operations; i++) {
    if (strcmp(run->words[0], operations[i].name) == 0) {
      return operations[i].operation(run, answer);
    }
  }
  fail(run, run->line, "there is no operation %s", run->words[0]);
  return 0;
}

/* Comparison. */

/* Whether a name in an answer is given to its handle: after a restart a look-up does so with names that are new. */
enum binding { NEVER, IF_NEW, ALWAYS };

/* Compares the word at `first` and the fields after it. */
static void compare(struct run *run, size_t first, const struct answer *answer, enum binding binding) {
  size_t i, field;
  if (first >= run->count || strcmp(run->words[first], answer->word) != 0) {
    fail(run, run->line, "expected %s, got %s", first < run->count ? run->words[first] : "nothing", answer->word);
  }
  for (i = first + 1; i < run->count; i++) {
    const char *key = run->words[i];
    char *value = strchr(run->words[i], '=');
    if (value == NULL) {
      fail(run, run->line, "%s is not of the form key=value", key);
    }
    *value++ = 0;
    if (strcmp(key, "handle") == 0) {
      const char *name = name_of(run, answer->handle);
      if (binding == ALWAYS || (binding == IF_NEW && handle_of(run, value) == 0)) {
        bind_handle(run, value, answer->handle);
      } else if (name == NULL || strcmp(name, value) != 0) {
        fail(run, run->line, "handle: expected %s, got %s", value, name != NULL ? name : "one without a name");
      }
      continue;
    }
    for (field = 0; field < answer->fields && strcmp(answer->keys[field], key) != 0; field++) {
    }
    if (field == answer->fields) {
      fail(run, run->line, "%s has no field %s", answer->word, key);
    }
    if (strcmp(answer->values[field], value) != 0) {
      fail(run, run->line, "%s: expected %s, got %s", key, value, answer->values[field]);
    }
  }
}

static void event_line(struct run *run) {
  const char *name = argument(run, "handle");
  size_t i;
  if (run->step_line == 0 || run->count < 2 || name == NULL) {
    fail(run, run->line, "an event follows a step, and names its kind and handle");
  }
  for (i = 0; i < run->event_count; i++) {
    struct answer *event = &run->events[i];
    if (!event->expected && strcmp(event->word, run->words[1]) == 0 && event->handle == handle_of(run, name)) {
      event->expected = 1;
      compare(run, 1, event, NEVER);
      return;
    }
  }
  fail(run, run->line, "no event %s of %s", run->words[1], name);
}

/* The events of a step are a set: none may be left when the next step begins. */
static void end_step(struct run *run) {
  size_t i;
  for (i = 0; i < run->event_count; i++) {
    if (!run->events[i].expected) {
      const char *name = name_of(run, run->events[i].handle);
      fail(run, run->step_line, "an event that was not expected: %s of %s", run->events[i].word, name ? name : "?");
    }
  }
  run->event_count = 0;
}

static void step_line(struct run *run) {
  size_t arrow = 0;
  int first = run->step_line == 0, opens = strcmp(run->words[0], "open") == 0;
  enum binding binding = strcmp(run->words[0], "find") == 0 ? IF_NEW : NEVER;
  int32_t code = 0;
  while (arrow < run->count && strcmp(run->words[arrow], "->") != 0) {
    arrow++;
  }
  if (arrow + 1 >= run->count) {
    fail(run, run->line, "there is no answer");
  }
  end_step(run);
  run->step_line = run->line;
  begin(&run->answer, "ok");
  if (first) {
    code = hostwheel_open(&run->config, &run->wheel);
    if (code != 0 && !opens) {
      fail(run, run->line, "open: %s", hostwheel_strerror(code));
    }
  } else if (opens || run->wheel == NULL) {
    fail(run, run->line, "open is the first step, and if it is refused the only one");
  }
  if (!opens) {
    code = perform(run, &run->answer);
  }
  if (code != 0) {
    begin(&run->answer, error_name(code));
  }
  if (strcmp(run->answer.word, "registered") == 0) {
    binding = ALWAYS;
  }
  compare(run, arrow + 1, &run->answer, binding);
}

/* Settings and features. */

static void configure(struct run *run, const char *setting) {
  static const struct {
    const char *name;
    size_t at;
    size_t size;
    uint64_t unit;
    uint64_t usual;
  } settings[] = {
#define FIELD(field) offsetof(hostwheel_config_t, field), sizeof(((hostwheel_config_t *)NULL)->field)
      {"host_ttl_ms", FIELD(host_ttl_ns), MS, 3600000},
      {"grace_ms", FIELD(grace_ns), MS, 15000},
      {"min_interval_ms", FIELD(min_interval_ns), MS, 1000},
      {"max_interval_ms", FIELD(max_interval_ns), MS, 2073600000},
      {"watchdog_ms", FIELD(watchdog_ns), MS, 0},
      {"backstop_ms", FIELD(backstop_ns), MS, 300000},
      {"settle_timeout_ms", FIELD(settle_timeout_ns), MS, 60000},
      {"max_hosts", FIELD(max_hosts), 1, 4096},
      {"max_outstanding", FIELD(max_outstanding), 1, 4096},
      {"silence_expected", FIELD(silence_expected), 1, 0},
      {"brake_burst_permille", FIELD(brake_burst_permille), 1, 0},
      {"brake_burst_min", FIELD(brake_burst_min), 1, 0},
      {"brake_refill_permille", FIELD(brake_refill_permille), 1, 0},
      {"brake_refill_min", FIELD(brake_refill_min), 1, 0},
#undef FIELD
  };
  const char *value = setting == NULL ? NULL : strchr(setting, '=');
  size_t i, found = 0;
  for (i = 0; i < sizeof settings / sizeof *settings; i++) {
    size_t length = strlen(settings[i].name);
    uint64_t number = settings[i].usual * settings[i].unit;
    uint32_t small;
    if (setting != NULL) {
      if (strncmp(setting, settings[i].name, length) != 0 || setting[length] != '=') {
        continue;
      }
      number = parse_number(run, value + 1) * settings[i].unit;
    }
    found++;
    small = (uint32_t)number;
    memcpy((char *)&run->config + settings[i].at, settings[i].size == 4 ? (void *)&small : (void *)&number,
           settings[i].size);
  }
  if (setting == NULL) {
    run->config.clock = HOSTWHEEL_CLOCK_MANUAL;
    run->config.delivery = HOSTWHEEL_DELIVERY_DRAIN;
  } else if (strcmp(setting, "callback=1") == 0) {
    run->config.delivery = HOSTWHEEL_DELIVERY_CALLBACK;
    run->config.on_event = on_event;
    run->config.ctx = run;
  } else if (strcmp(setting, "own_clock=1") == 0) {
    run->config.clock = HOSTWHEEL_CLOCK_PRECISE;
  } else if (found == 0) {
    fail(run, run->line, "there is no setting %s", setting);
  }
}

static int lacks(const char *feature) {
  static const char *const features[] = {"guards", "queue", "callback", "clock", "replace"};
  size_t i;
  for (i = 0; i < sizeof features / sizeof *features; i++) {
    if (strcmp(features[i], feature) == 0) {
      return 0;
    }
  }
  return 1;
}

/* Traces. */

static void split(struct run *run) {
  char *word;
  run->count = 0;
  for (word = strtok(run->text, " \n"); word != NULL && *word != '#'; word = strtok(NULL, " \n")) {
    if (run->count == MOST_WORDS) {
      fail(run, run->line, "more than %d words", MOST_WORDS);
    }
    run->words[run->count++] = word;
  }
}

/* Whether the trace was run, and not skipped. */
static int run_file(struct run *run, const char *file) {
  FILE *trace = fopen(file, "r");
  int headed = 0, skipped = 0;
  size_t i;
  memset(run, 0, sizeof *run);
  run->file = file;
  if (trace == NULL) {
    fail(run, 0, "cannot be opened");
  }
  if (hostwheel_config_init(&run->config, sizeof run->config) != 0) {
    fail(run, 0, "the header is not the library's");
  }
  configure(run, NULL);
  while (!skipped && fgets(run->text, (int)sizeof run->text, trace) != NULL) {
    run->line++;
    if (strlen(run->text) > LONGEST_LINE && run->text[LONGEST_LINE] != '\n') {
      fail(run, run->line, "longer than %d bytes", LONGEST_LINE);
    }
    split(run);
    if (run->count == 0) {
      continue;
    }
    if (!headed) {
      if (run->count != 2 || strcmp(run->words[0], "hostwheel-trace") != 0 || strcmp(run->words[1], "1") != 0) {
        fail(run, run->line, "a trace begins with: hostwheel-trace 1");
      }
      headed = 1;
    } else if (strcmp(run->words[0], "needs") == 0) {
      for (i = 1; i < run->count; i++) {
        skipped = skipped || lacks(run->words[i]);
      }
    } else if (strcmp(run->words[0], "config") == 0) {
      for (i = 1; i < run->count; i++) {
        configure(run, run->words[i]);
      }
    } else if (strcmp(run->words[0], "event") == 0) {
      event_line(run);
    } else {
      step_line(run);
    }
  }
  end_step(run);
  if (!skipped && run->step_line == 0) {
    fail(run, run->line, "there is no step");
  }
  hostwheel_free(run->wheel);
  fclose(trace);
  return !skipped;
}

int main(int count, char **files) {
  static struct run run;
  int i, passed = 0;
  if (count < 2) {
    fprintf(stderr, "usage: %s FILE...\n", files[0]);
    return 2;
  }
  for (i = 1; i < count; i++) {
    passed += run_file(&run, files[i]);
  }
  printf("%d passed, %d skipped\n", passed, count - 1 - passed);
  return 0;
}
