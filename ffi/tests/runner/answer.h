/* Answers and events in the words of conformance traces: texts, so that they can be compared as such. */
#ifndef HOSTWHEEL_TEST_ANSWER_H
#define HOSTWHEEL_TEST_ANSWER_H

#include <hostwheel.h>

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_FIELDS 24
#define LONGEST_ID 1024
#define MS UINT64_C(1000000)

/* What the wheel answered, or an event, in the words of the format. */
struct answer {
  const char *word;
  uint64_t handle; /* 0: none */
  const char *keys[MOST_FIELDS];
  const char *values[MOST_FIELDS];
  size_t fields;
  /* Of the values. */
  char text[2 * LONGEST_ID + 512];
  size_t used;
  int expected; /* an event: a line has named it */
};

static void begin(struct answer *answer, const char *word) {
  answer->word = word;
  answer->handle = 0;
  answer->fields = 0;
  answer->used = 0;
  answer->expected = 0;
}

static void put(struct answer *answer, const char *key, const char *value) {
  size_t length = strlen(value) + 1;
  if (answer->fields == MOST_FIELDS || sizeof answer->text - answer->used < length) {
    abort(); /* the room is enough for every answer */
  }
  answer->keys[answer->fields] = key;
  answer->values[answer->fields++] = strcpy(answer->text + answer->used, value);
  answer->used += length;
}

static void put_number(struct answer *answer, const char *key, uint64_t number) {
  char value[24];
  snprintf(value, sizeof value, "%" PRIu64, number);
  put(answer, key, value);
}

/* A fraction of a millisecond equals nothing that a trace can say, so it is written out. */
static void put_ms(struct answer *answer, const char *key, uint64_t ns) {
  char value[48];
  if (ns == HOSTWHEEL_NEVER) {
    put(answer, key, "none");
  } else if (ns % MS == 0) {
    put_number(answer, key, ns / MS);
  } else {
    snprintf(value, sizeof value, "%" PRIu64 ".%06" PRIu64, ns / MS, ns % MS);
    put(answer, key, value);
  }
}

/* An error in the spelling of the format; one that it does not know in words. */
static const char *error_name(int32_t code) {
  static const struct {
    int32_t code;
    const char *name;
  } errors[] = {
      {HOSTWHEEL_ERR_ID_LENGTH, "error:id_length"}, {HOSTWHEEL_ERR_CONFIG, "error:config"},
      {HOSTWHEEL_ERR_NOT_FOUND, "error:not_found"}, {HOSTWHEEL_ERR_STALE, "error:stale"},
      {HOSTWHEEL_ERR_TAKEN, "error:taken"},         {HOSTWHEEL_ERR_FULL, "error:full"},
      {HOSTWHEEL_ERR_CLOSED, "error:closed"},       {HOSTWHEEL_ERR_ATTEMPT, "error:attempt"},
      {HOSTWHEEL_ERR_MODE, "error:mode"},
  };
  size_t i;
  for (i = 0; i < sizeof errors / sizeof *errors; i++) {
    if (errors[i].code == code) {
      return errors[i].name;
    }
  }
  return hostwheel_strerror(code);
}

static const char *outcome_name(uint32_t outcome) {
  static const char *const names[] = {"?", "registered", "renewed", "recovered"};
  return names[outcome <= HOSTWHEEL_OUTCOME_RECOVERED ? outcome : 0];
}

#endif
