/*
 * The few functions of NGINX that files of the module call, written anew: a
 * fuzzer includes the file, and knows NGINX's headers only.
 */
#pragma once
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "fuzz.h"

volatile ngx_cycle_t  *ngx_cycle = &(ngx_cycle_t) { .log = NULL };

void *
ngx_alloc(size_t size, ngx_log_t *log)
{
    return malloc(size);
}

ngx_int_t
ngx_hextoi(u_char *line, size_t n)
{
    static const char   digits[] = "0123456789abcdef";
    const char         *digit;
    ngx_int_t           value = 0;

    for (size_t i = 0; i < n; i++) {
        digit = line[i] ? strchr(digits, line[i] | 0x20) : NULL;

        if (digit == NULL) {
            return NGX_ERROR;
        }

        value = value << 4 | (digit - digits);
    }

    return n ? value : NGX_ERROR;
}
