/* An order at its CA: the engine that calls the connector step by step. */
#pragma once
#include "work.h"

/* Columns of order_list. */
enum { ORDER_ID, ORDER_STATE, ORDER_ISSUER, ORDER_TARGET, ORDER_KEY_TYPE,
       ORDER_SANS, ORDER_MUST_STAPLE, ORDER_CSR, ORDER_SERIAL, ORDER_NOT_BEFORE,
       ORDER_NOT_AFTER, ORDER_CA_STATE, ORDER_DEADLINE, ORDER_FAILURES,
       ORDER_LAST_ERROR, ORDER_WAIT, ORDER_CHALLENGED, ORDER_TARGET_TYPE,
       ORDER_TARGET_CONFIG, ORDER_AGENT, ORDER_CERTIFICATE_NAME, ORDER_COMMON_NAME };

#define ORDER_TIME  24

/* Seconds since 1970 as a parameter of a statement. */
void order_time(time_t t, char out[ORDER_TIME]);

enum order_end {
    ORDER_GOES_ON,     /* within order_step.c */
    ORDER_ISSUED,
    ORDER_WAITS,       /* *delay seconds: nothing is held meanwhile */
    ORDER_FAILED       /* err tells */
};

/* Goes on with the order in row i, which is ready, as far as it gets. */
enum order_end order_steps(struct work *w, const PGresult *orders, int i,
    double *delay, struct error *err);
