/*
 * The database keeps the rules; a line "-- rule NAME: sentence" in sql/schema
 * gives each its sentence.
 */
#include "db_error.h"
#include "statement.h"

#include <stdio.h>
#include <string.h>

static const struct { const char *prefix; enum err code; const char *text; } sqlstates[] = {
    /* unique_violation */
    { "23505", ERR_CONFLICT, "such an object exists" },

    /* foreign_key_violation; who deletes says conflict instead */
    { "23503", ERR_INVALID, "an object that is named here does not exist, or is in use" },

    /* any other integrity constraint */
    { "23", ERR_INVALID, "the object breaks a rule of its kind" },

    /* data exception: a value that its field cannot hold */
    { "22", ERR_INVALID, "a value is not what its field can hold" },

    /* raise_exception of our functions */
    { "P0001", ERR_INVALID, "" },
    { "CT409", ERR_CONFLICT, "" },

    /* a standby, a deadlock, a full disk, a lock, an operator, a lost connection */
    { "25006", ERR_UNAVAILABLE, "the database takes no changes now" },
    { "40", ERR_UNAVAILABLE, "another request changed the same: send it again" },
    { "53", ERR_UNAVAILABLE, "the database has no room or too many connections" },
    { "55P03", ERR_UNAVAILABLE, "another request holds the object: send it again" },
    { "57", ERR_UNAVAILABLE, "the database stopped the request" },
    { "58", ERR_UNAVAILABLE, "the database met an error of its system" },
    { "08", ERR_UNAVAILABLE, "the connection to the database was lost" },
    { "", ERR_INTERNAL, "the database met an error" },
};

bool
db_error_text(struct error *err, const char *text)
{
    return error_set(err, ERR_UNAVAILABLE, "database: %.*s",
                     (int) strcspn(text, "\n"), text);
}

static const char *
rule_text(const char *constraint)
{
    size_t  len = strlen(constraint);

    for (const struct sql_text *rule = sql_rules; rule->name; rule++) {
        if (strcmp(rule->name, constraint) == 0) {
            return rule->text;
        }
    }

    if (len > 10 && strcmp(constraint + len - 10, "_id_format") == 0) {
        return "id must be 1 to 100 of A-Z a-z 0-9 . _ - and begin with a letter or digit";
    }

    return len > 5 && strcmp(constraint + len - 5, "_pkey") == 0
           ? "an object of this id exists" : NULL;
}

/* What our own functions raise: a sentence, about the field that the column names
 * as a pointer, and who is in the way as the detail. */
static bool
raised_error(struct error *err, enum err code, const PGresult *res)
{
    const char  *pointer = PQresultErrorField(res, PG_DIAG_COLUMN_NAME);
    const char  *dependant = PQresultErrorField(res, PG_DIAG_MESSAGE_DETAIL);

    error_set(err, code, "%s", PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY));
    snprintf(err->pointer, sizeof(err->pointer), "%s", pointer ? pointer : "");
    snprintf(err->dependant, sizeof(err->dependant), "%s", dependant ? dependant : "");

    return false;
}

/*
 * The rule of a reference is "FIELD names no THING, or WHO still refers to it": the
 * first half is for who names what is not there, the second for who deletes. Which
 * it is, and the value, is in "(column)=(value)" of the detail.
 */
static bool
reference_error(struct error *err, const char *rule, const PGresult *res)
{
    const char  *names = strstr(rule, " names no "), *rest = strstr(rule, ", or ");
    const char  *detail = PQresultErrorField(res, PG_DIAG_MESSAGE_DETAIL);
    const char  *column = detail ? strchr(detail, '(') : NULL;
    const char  *value = column ? strstr(column, ")=(") : NULL;
    const char  *end = value ? strstr(value + 3, ") ") : NULL;
    const char  *thing = names ? names + strlen(" names no ") : NULL;
    char         pointer[100];

    /* the value may hold the same characters: the last ones end it */
    for (const char *next = end; next; next = strstr(next + 1, ") ")) {
        end = next;
    }

    if (names == NULL || rest == NULL || rest < thing || end == NULL) {
        return error_set(err, ERR_INVALID, "%s", rule);
    }

    if (strncmp(column, "(id)", 4) == 0) {
        return error_set(err, ERR_INVALID, "%s", rest + strlen(", or "));
    }

    value += 3;
    snprintf(pointer, sizeof(pointer), "/%.*s", (int) (names - rule), rule);

    return error_field(err, pointer, "%.*s \"%.*s\" not found", (int) (rest - thing), thing,
                       end - value > 100 ? 100 : (int) (end - value), value);
}

bool
db_error(struct error *err, PGconn *conn, const PGresult *res)
{
    const char  *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
    const char  *constraint = PQresultErrorField(res, PG_DIAG_CONSTRAINT_NAME);
    const char  *column = PQresultErrorField(res, PG_DIAG_COLUMN_NAME);
    const char  *text = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
    const char  *raised = PQresultErrorField(res, PG_DIAG_SOURCE_FUNCTION);
    const char  *rule = constraint ? rule_text(constraint) : NULL;
    size_t       i = 0;

    if (state == NULL) {
        return db_error_text(err, PQerrorMessage(conn));
    }

    while (strncmp(state, sqlstates[i].prefix, strlen(sqlstates[i].prefix)) != 0) {
        i++;
    }

    if (rule && strcmp(state, "23503") == 0) {
        return reference_error(err, rule, res);
    }

    if (rule) {
        return error_set(err, sqlstates[i].code, "%s", rule);
    }

    if (column && strcmp(state, "23502") == 0) {          /* not_null_violation */
        return error_set(err, ERR_INVALID, "%s is required", column);
    }

    /* Only what our own functions raise is for callers: the rest quotes statements
     * and names of the database. */
    if (raised && strcmp(raised, "exec_stmt_raise") == 0 && text) {
        return raised_error(err, sqlstates[i].code, res);
    }

    error_set(err, sqlstates[i].code, "%s", sqlstates[i].text);
    snprintf(err->cause, sizeof(err->cause), "%s: %s", state, text ? text : "");

    return false;
}
