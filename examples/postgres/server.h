/*
 * server.h - a connection to PostgreSQL on which nothing is waited for without a deadline.
 *
 * A function that returns a status leaves the reason of a failure in server->error:
 *     RETRY         it may work later: the server is down, busy, full, or is being changed
 *     FAILED        what was sent is wrong: a constraint, a value that does not fit
 *     others        it will not work before somebody changes something
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef POSTGRES_SERVER_H
#define POSTGRES_SERVER_H

#include <libpq-fe.h>
#include <slipstream.h>
#include <stdbool.h>

typedef struct server {
    const slipstream_host *host;
    PGconn *conn;
    char *conninfo;
    uint64_t connect_ms;
    uint64_t statement_ms;
    uint64_t until_ms; /* no call waits longer, whatever the two above say */
    bool unsent; /* something could not even be put into libpq's buffer */
    char error[SLIPSTREAM_ERROR_MAX];
} server;

/* Connects, if there is no connection. */
int32_t server_connect(server *self);
void server_close(server *self);

/* Sends a statement with `count` binary parameters. Everything up to the next server_finish goes
 * to the server at once, as one transaction (of which a BEGIN makes a part). Problems show in
 * server_finish, too. */
void server_send(server *self, const char *sql, int count, const Oid *types,
                 const char *const *values, const int *lengths);

/* Only looks whether the server understands a statement. */
void server_try(server *self, const char *sql, int count, const Oid *types);

/* Waits until all that was sent is done: OK means committed. `answer`, which may be NULL, gets the
 * last result that has rows; the caller clears it. A connection that is of no more use is closed. */
int32_t server_finish(server *self, PGresult **answer);

uint64_t server_now_ms(void);
int32_t server_fail(server *self, int32_t status, const char *format, ...);

#endif
