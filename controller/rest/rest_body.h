/* The body of a request: bounded, typed, parsed. */
#pragma once
#include "rest_worker.h"

/* Fills r->raw and, unless the route is binary, r->body. */
bool body_read(struct request *r);
