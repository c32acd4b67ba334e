/*
 * server.c - see server.h. libpq is used in its non-blocking way throughout; only the look-up of
 * a host's name, which libpq does by itself, has no deadline but the resolver's.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#define _DEFAULT_SOURCE /* clock_gettime */
#include "server.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
    SLICE_MS = 100,     /* between two looks at is_stopping */
    STOPPING_MS = 1000, /* what is under way gets so long when the host wants to stop */
    GRACE_MS = 1000,    /* the server ends a statement itself; if it does not, we go */
    TEXT_LIMIT = 3500,  /* of a message of libpq in an error text */
};

uint64_t server_now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

int32_t server_fail(server *self, int32_t status, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(self->error, sizeof self->error, format, arguments);
    va_end(arguments);
    return status;
}

/* As server_fail, with what libpq or the server said, as one line. */
static int32_t fail_said(server *self, int32_t status, const char *doing, const char *said) {
    char line[TEXT_LIMIT];
    size_t used = 0;
    for (; *said != '\0' && used + 1 < sizeof line; said++)
        if (*said != '\n')
            line[used++] = *said == '\t' ? ' ' : *said;
        else if (used > 0 && said[1] != '\0' && used + 3 < sizeof line)
            line[used++] = ';', line[used++] = ' ';
    line[used] = '\0';
    return server_fail(self, status, "%s: %s", doing, line);
}

/* What an SQLSTATE means for the event, see server.h. https://www.postgresql.org/docs/current/
 * errcodes-appendix.html */
static int32_t meaning(const char *state) {
    static const struct {
        const char *begin;
        int32_t status;
    } table[] = {
        {"08", SLIPSTREAM_RETRY},    /* connection */
        {"25", SLIPSTREAM_RETRY},    /* read-only: a standby takes over, or is taken over */
        {"28", SLIPSTREAM_DENIED},   /* wrong password, no such user, pg_hba.conf */
        {"3D", SLIPSTREAM_NOT_FOUND},/* no such database */
        {"3F", SLIPSTREAM_RETRY},    /* schema dropped: it is made anew */
        {"40", SLIPSTREAM_RETRY},    /* deadlock, serialization */
        {"42501", SLIPSTREAM_DENIED},
        {"42", SLIPSTREAM_RETRY},    /* table dropped or altered: it is made or looked at anew */
        {"53", SLIPSTREAM_RETRY},    /* disk full, out of memory, too many connections */
        {"55", SLIPSTREAM_RETRY},    /* locked */
        {"57", SLIPSTREAM_RETRY},    /* shut down, or the statement took too long */
        {"58", SLIPSTREAM_RETRY},    /* the server's own trouble with its disk */
        {"XX", SLIPSTREAM_RETRY},    /* internal */
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strncmp(state, table[i].begin, strlen(table[i].begin)) == 0)
            return table[i].status;
    return SLIPSTREAM_FAILED;
}

static uint64_t after(const server *self, uint64_t ms) {
    const uint64_t deadline = server_now_ms() + ms;
    return deadline < self->until_ms ? deadline : self->until_ms;
}

/* Waits for the socket; false when the deadline, or the host's patience, is over. */
static bool wait_for(server *self, short events, uint64_t *deadline) {
    struct pollfd one = {.fd = PQsocket(self->conn), .events = events};
    for (;;) {
        const uint64_t now = server_now_ms();
        if (slipstream_is_stopping(self->host) && *deadline > now + STOPPING_MS)
            *deadline = now + STOPPING_MS;
        if (now >= *deadline || one.fd < 0)
            return false;
        const uint64_t left = *deadline - now;
        const int ready = poll(&one, 1, left < SLICE_MS ? (int)left : SLICE_MS);
        if (ready > 0)
            return true;
        if (ready < 0 && errno != EINTR)
            return false;
    }
}

void server_close(server *self) {
    PQfinish(self->conn);
    self->conn = NULL;
    self->unsent = false;
}

/* ---- Connecting -------------------------------------------------------------------------- */

/* Goes with whatever is sent first. */
static void send_settings(server *self) {
    char sql[64];
    snprintf(sql, sizeof sql, "SET statement_timeout = %llu",
             (unsigned long long)self->statement_ms);
    server_send(self, sql, 0, NULL, NULL, NULL);
}

static PGconn *begin(const server *self) {
    /* What the conninfo says itself wins: it comes last. */
    const char *const keys[] = {"application_name", "client_encoding", "keepalives_idle",
                                "tcp_user_timeout", "dbname", NULL};
    const char *const values[] = {"slipstream", "UTF8", "10", "15000", self->conninfo, NULL};
    return PQconnectStartParams(keys, values, 1);
}

/* libpq has no SQLSTATE of a connection that failed, only the server's words. */
static int32_t why_not(const char *text) {
    if (strstr(text, "authentication failed") != NULL || strstr(text, "no pg_hba.conf") != NULL ||
        strstr(text, "no password supplied") != NULL || strstr(text, "permission denied for") != NULL)
        return SLIPSTREAM_DENIED;
    if (strstr(text, "\" does not exist") != NULL)
        return SLIPSTREAM_NOT_FOUND;
    if (strstr(text, "invalid connection option") != NULL ||
        strstr(text, "in connection info string") != NULL || strstr(text, "invalid URI") != NULL ||
        strstr(text, "invalid port") != NULL || strstr(text, "missing \"=\"") != NULL)
        return SLIPSTREAM_INVALID_CONFIG;
    return SLIPSTREAM_RETRY;
}

int32_t server_connect(server *self) {
    uint64_t deadline = after(self, self->connect_ms);
    PostgresPollingStatusType state = PGRES_POLLING_WRITING;
    if (self->conn != NULL)
        return SLIPSTREAM_OK;
    self->conn = begin(self);
    if (self->conn == NULL)
        return server_fail(self, SLIPSTREAM_NO_MEMORY, "no memory for a connection");
    while (PQstatus(self->conn) != CONNECTION_BAD && state != PGRES_POLLING_OK &&
           state != PGRES_POLLING_FAILED) {
        if (!wait_for(self, state == PGRES_POLLING_READING ? POLLIN : POLLOUT, &deadline)) {
            server_fail(self, SLIPSTREAM_RETRY,
                        "cannot connect to the server: no answer in time");
            server_close(self);
            return SLIPSTREAM_RETRY;
        }
        state = PQconnectPoll(self->conn);
    }
    if (PQstatus(self->conn) == CONNECTION_OK && PQsetnonblocking(self->conn, 1) == 0 &&
        PQenterPipelineMode(self->conn) == 1) {
        send_settings(self);
        return SLIPSTREAM_OK;
    }
    const char *text = PQerrorMessage(self->conn);
    const int32_t status = fail_said(self, why_not(text), "cannot connect to the server", text);
    server_close(self);
    return status;
}

/* ---- Statements -------------------------------------------------------------------------- */

void server_send(server *self, const char *sql, int count, const Oid *types,
                 const char *const *values, const int *lengths) {
    int formats[16];
    for (int i = 0; i < count; i++)
        formats[i] = 1;
    if (PQsendQueryParams(self->conn, sql, count, types, values, lengths, formats, 0) == 0)
        self->unsent = true;
}

void server_try(server *self, const char *sql, int count, const Oid *types) {
    if (PQsendPrepare(self->conn, "", sql, count, types) == 0)
        self->unsent = true;
}

/* Sends what waits and reads until a whole result is there. */
static bool has_result(server *self, uint64_t *deadline) {
    for (;;) {
        const int unsent = PQflush(self->conn);
        if (unsent < 0)
            return true; /* the result says why */
        if (unsent == 0 && !PQisBusy(self->conn))
            return true;
        if (!wait_for(self, (short)(unsent > 0 ? POLLIN | POLLOUT : POLLIN), deadline))
            return false;
        if (PQconsumeInput(self->conn) == 0)
            return true;
    }
}

static void look_at(server *self, const PGresult *result, int32_t *status) {
    /* NULL, which stands between two statements, has that status, too. */
    if (result == NULL || PQresultStatus(result) != PGRES_FATAL_ERROR || *status != SLIPSTREAM_OK)
        return;
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    *status = fail_said(self, state == NULL ? SLIPSTREAM_RETRY : meaning(state),
                        "the server refused", PQresultErrorMessage(result));
}

int32_t server_finish(server *self, PGresult **answer) {
    uint64_t deadline = after(self, self->statement_ms + GRACE_MS);
    int32_t status = SLIPSTREAM_OK;
    bool done = false;
    if (answer != NULL)
        *answer = NULL;
    if (self->unsent || PQpipelineSync(self->conn) == 0)
        status = fail_said(self, SLIPSTREAM_RETRY, "cannot send", PQerrorMessage(self->conn));
    while (status == SLIPSTREAM_OK || PQstatus(self->conn) == CONNECTION_OK) {
        if (!has_result(self, &deadline)) {
            status = server_fail(self, SLIPSTREAM_RETRY, "no answer from the server in time");
            break;
        }
        PGresult *result = PQgetResult(self->conn);
        const ExecStatusType kind = PQresultStatus(result);
        done = kind == PGRES_PIPELINE_SYNC;
        look_at(self, result, &status);
        if (answer != NULL && kind == PGRES_TUPLES_OK) {
            PQclear(*answer);
            *answer = result;
        } else
            PQclear(result);
        if (done)
            break;
        if (PQstatus(self->conn) == CONNECTION_BAD) {
            if (status == SLIPSTREAM_OK)
                status = fail_said(self, SLIPSTREAM_RETRY, "the connection is lost",
                                   PQerrorMessage(self->conn));
            break;
        }
    }
    /* Also where tables are not what they were: whoever connects looks at them. */
    if (!done || (status != SLIPSTREAM_OK && status != SLIPSTREAM_FAILED))
        server_close(self);
    return status;
}
