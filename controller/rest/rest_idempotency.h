/* POST requests with an Idempotency-Key: done once, answered alike again. */
#pragma once
#include "rest.h"

/*
 * Within the request's transaction, before its handler.  *ret_known: the request
 * was answered before, and r holds that answer again.  MALFORMED for a key that
 * is no token of 1 to 255 visible characters, INVALID when it came with another
 * request.  Harmless without the header.
 */
bool idempotency_begin(struct request *r, bool *ret_known);

/* After the handler and before the commit: stores what r answers. */
bool idempotency_end(struct request *r);
