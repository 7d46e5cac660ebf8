/* From SQLSTATE and constraint names to our errors. */
#pragma once
#include "error.h"
#include <libpq-fe.h>

/* Fills err from a failed result; returns false. */
bool db_error(struct error *err, PGconn *conn, const PGresult *res);

/* A failed connection: ERR_UNAVAILABLE with its first line; returns false. */
bool db_error_text(struct error *err, const char *text);
