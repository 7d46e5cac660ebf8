/* Where hosts still serve a certificate that has ended here, in answers. */
#include "certificate_served.h"
#include "resource_fields.h"
#include "sql_certificate.h"

const struct field  certificate_served_fields[] = {
    FIELD_READ("agent_id", T_TEXT, "the host"),
    FIELD_READ("source_path", T_TEXT, "the place"),
    FIELD_READ("source", T_TEXT, "store static variable"),
    FIELD_READ("record", T_TEXT, "its name in the store"),
    FIELD_READ("server_names", T_TEXTS, "of its server block"),
    FIELD_READ("fingerprint_sha256", T_TEXT, "of the leaf"),
    FIELD_READ("not_after", T_TIME, "RFC 5280 4.1.2.5"),
    FIELD_READ("last_seen_at", T_TIME, "last report"),
    { 0 }
};

json_t *
certificate_json(struct request *r, const struct sql_statement *sql)
{
    CLEANUP(mem) char  *text = DB_VALUE(r->db, &r->err, sql, r->args[0]);
    json_t             *answer = text ? json_loads(text, 0, NULL) : NULL;

    if (text && answer == NULL) {
        error_set(&r->err, ERR_INTERNAL, "out of memory");
    }

    return answer;
}

bool
certificate_reply(struct request *r, json_t *answer)
{
    json_t  *served = certificate_json(r, SQL_CERTIFICATE_SERVED);

    if (served == NULL) {
        return false;
    }

    if (json_array_size(served) == 0 && r->route->also == 204) {
        json_decref(served);
        r->status = 204;
        return true;
    }

    return json_object_set_new(answer, "still_served", served) == 0
           && rest_reply_json(r, answer);
}
