/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Intrusive doubly linked list, circular with a head. A node that is on no list points at itself once
 * initialised, so "is it queued?" is a question to the node and removing twice is harmless.
 */
#ifndef CULVERT_BASE_LIST_H
#define CULVERT_BASE_LIST_H

#include <stdbool.h>

#include "stack/base/compiler.h"

struct list {
	struct list *next, *prev;
};

static inline void list_init(struct list *l)
{
	l->next = l;
	l->prev = l;
}

/* True for a head without nodes, and for a node that is on no list. */
static inline bool list_empty(const struct list *l)
{
	return l->next == l;
}

static inline void list_insert_before(struct list *at, struct list *node)
{
	node->prev = at->prev;
	node->next = at;
	at->prev->next = node;
	at->prev = node;
}

static inline void list_add_tail(struct list *head, struct list *node)
{
	list_insert_before(head, node);
}

static inline void list_add_head(struct list *head, struct list *node)
{
	list_insert_before(head->next, node);
}

/* Takes the node off its list; it may be added again, or removed again without effect. */
static inline void list_del(struct list *node)
{
	node->prev->next = node->next;
	node->next->prev = node->prev;
	list_init(node);
}

/* The first node; the head must not be empty. */
static inline struct list *list_first(const struct list *head)
{
	return head->next;
}

/* First node, taken off; NULL when there is none. */
static inline struct list *list_pop(struct list *head)
{
	struct list *node = head->next;

	if (node == head)
		return NULL;
	list_del(node);
	return node;
}

/* Moves all nodes of `from` to the end of `to`; `from` is empty afterwards. */
static inline void list_splice_tail(struct list *to, struct list *from)
{
	if (list_empty(from))
		return;
	from->next->prev = to->prev;
	to->prev->next = from->next;
	from->prev->next = to;
	to->prev = from->prev;
	list_init(from);
}

#define list_entry(node, type, member) cv_container_of(node, type, member)
#define list_for_each(node, head)                                                                  \
	for (struct list *node = (head)->next; node != (head); node = node->next)
/* The body may remove `node`. */
#define list_for_each_safe(node, head)                                                             \
	for (struct list *node = (head)->next, *node##_next = node->next; node != (head);          \
		node = node##_next, node##_next = node->next)

#endif
