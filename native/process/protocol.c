#include "process/protocol.h"

#include "base/text.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

static void add(ss_body *body, const void *data, size_t len) {
    if (len > sizeof body->data - body->len) {
        body->is_cut = true;
        return;
    }
    if (len > 0)
        memcpy(body->data + body->len, data, len);
    body->len += len;
}

void ss_body_start(ss_body *body, const void *fixed, size_t len) {
    body->len = 0;
    body->is_cut = false;
    add(body, fixed, len);
}

void ss_body_add_text(ss_body *body, const char *text) {
    add(body, text, strlen(text) + 1);
}

const char *ss_next_text(const char **at, const char *end) {
    const char *text = *at;
    if (text >= end)
        return "";
    *at += strlen(text) + 1;
    return text;
}

bool ss_message_send(int channel, uint32_t type, uint64_t number, const void *data, size_t len,
                     int flags) {
    return ss_message_send_parts(channel, type, number, (ss_part){data, len}, (ss_part){0}, flags);
}

bool ss_message_send_parts(int channel, uint32_t type, uint64_t number, ss_part first,
                           ss_part second, int flags) {
    ss_message head = {type, (uint32_t)(first.len + second.len), number};
    struct iovec parts[3] = {{&head, sizeof head},
                             {(void *)(uintptr_t)first.data, first.len},
                             {(void *)(uintptr_t)second.data, second.len}};
    const struct msghdr message = {.msg_iov = parts, .msg_iovlen = 3};
    ssize_t sent;
    do
        sent = sendmsg(channel, &message, MSG_NOSIGNAL | flags);
    while (sent < 0 && errno == EINTR);
    return sent >= 0;
}

int ss_message_receive(int channel, ss_message *head, char *data, int flags) {
    struct iovec parts[2] = {{head, sizeof *head}, {data, SS_MESSAGE_MAX}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    ssize_t n;
    do
        n = recvmsg(channel, &message, flags);
    while (n < 0 && errno == EINTR);
    if (n <= 0)
        return (int)n;
    if ((size_t)n < sizeof *head || (message.msg_flags & MSG_TRUNC) != 0 ||
        head->len != (size_t)n - sizeof *head) {
        errno = EBADMSG;
        return -1;
    }
    data[head->len] = '\0';
    return 1;
}

void ss_copy_text(char *out, size_t room, const char **at, const char *end) {
    const char *text = ss_next_text(at, end);
    ss_text_escape(out, room, text, strlen(text));
}

void ss_show_text(char *out, size_t room, const char **at, const char *end) {
    const char *text = ss_next_text(at, end);
    ss_text_show(out, room, text, strlen(text), NULL);
}
