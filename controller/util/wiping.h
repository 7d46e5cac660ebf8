/*
 * Memory whose content is overwritten before it is given back: requests carry API
 * keys and secrets of configurations, in buffers of libevent, jansson and OpenSSL,
 * which take these functions instead of their own.  What they allocate is for free()
 * too, which only does not overwrite it.
 */
#pragma once
#include <stddef.h>

void *wiping_malloc(size_t size);
void *wiping_realloc(void *p, size_t size);
void wiping_free(void *p);
