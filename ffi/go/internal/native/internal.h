/* What ffi/src/internal.rs has for this package beyond the public header. */
#ifndef HOSTWHEEL_INTERNAL_H
#define HOSTWHEEL_INTERNAL_H

#include "hostwheel.h"

#define HOSTWHEEL_INTERNAL_LAYOUT_VERSION 1

typedef struct {
  uint32_t version, record_size, word, armed, generation, reserved;
  uint64_t reading_ns, base_ns;
  const void *records, *shift_ns, *plain_until, *raised_ns, *raised_by_ns;
} hostwheel_internal_layout_t;

int32_t hostwheel_internal_layout(hostwheel_t *wheel, hostwheel_internal_layout_t *out, size_t size);
int32_t hostwheel_internal_tells(hostwheel_t *wheel);
int32_t hostwheel_internal_told(hostwheel_t *wheel, uint64_t handle);
int32_t hostwheel_internal_announce_handle(hostwheel_t *wheel, uint64_t handle, uint64_t interval_ns, uint64_t age_ns,
                                           uint32_t *outcome);

#endif
