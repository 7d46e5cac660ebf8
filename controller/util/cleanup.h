/*
 * CLEANUP(type) marks a local that frees itself when the scope ends; a room with
 * a type of its own adds it beside the type with CLEANUP_FUNC.
 */
#pragma once
#include "wiping.h"
#include <openssl/crypto.h>
#include <stdlib.h>
#include <unistd.h>

#define CLEANUP(name)  __attribute__((cleanup(name ## _cleanup)))

#define CLEANUP_FUNC(name, type, free_func)                                   \
    static inline void                                                        \
    name ## _cleanup(type *p)                                                 \
    {                                                                         \
        if (*p) {                                                             \
            free_func(*p);                                                    \
        }                                                                     \
    }

/* Gives the value of a CLEANUP local away: return TAKE(x). */
#define TAKE(p)  ({ __typeof__(p)  take_ = (p); (p) = NULL; take_; })

CLEANUP_FUNC(mem, char *, wiping_free)
CLEANUP_FUNC(ossl_mem, char *, OPENSSL_free)
CLEANUP_FUNC(ossl_buf, unsigned char *, OPENSSL_free)

static inline void
fd_cleanup(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
    }
}
