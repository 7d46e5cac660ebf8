/* Overwrites what is freed: how much there is, the C library knows. */
#include "wiping.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

/* OpenSSL's own functions answer NULL to a size of 0. */
void *
wiping_malloc(size_t size)
{
    return size ? malloc(size) : NULL;
}

void
wiping_free(void *p)
{
    if (p) {
        explicit_bzero(p, malloc_usable_size(p));
        free(p);
    }
}

/* A block that realloc() moves would leave a copy behind. */
void *
wiping_realloc(void *p, size_t size)
{
    size_t  have = p ? malloc_usable_size(p) : 0;
    void   *moved;

    if (p && size <= have && size >= have / 2) {
        return p;
    }

    moved = wiping_malloc(size);

    if (moved && p) {
        memcpy(moved, p, have < size ? have : size);
    }

    if (moved || size == 0) {
        wiping_free(p);
    }

    return moved;
}
