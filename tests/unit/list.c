/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "stack/base/list.h"

struct item {
	int value;
	struct list node;
};

static void expect(struct list *head, const int *values, int n)
{
	int i = 0;

	list_for_each(node, head) {
		assert_true(i < n);
		assert_int_equal(list_entry(node, struct item, node)->value, values[i]);
		assert_ptr_equal(node->next->prev, node);
		i++;
	}
	assert_int_equal(i, n);
}

static void fill(struct list *head, struct item *items, int n)
{
	list_init(head);
	for (int i = 0; i < n; i++) {
		items[i].value = i;
		list_init(&items[i].node);
		list_add_tail(head, &items[i].node);
	}
}

static void order__tail_head_and_pop(void **state)
{
	struct item items[3], first = {.value = 9};
	struct list head;

	(void)state;
	fill(&head, items, 3);
	list_add_head(&head, &first.node);
	expect(&head, (int[]){9, 0, 1, 2}, 4);
	assert_ptr_equal(list_pop(&head), &first.node);
	expect(&head, (int[]){0, 1, 2}, 3);
}

static void removal__twice_and_while_walking__is_harmless(void **state)
{
	struct item items[4];
	struct list head;

	(void)state;
	fill(&head, items, 4);
	list_for_each_safe(node, &head) {
		if (list_entry(node, struct item, node)->value % 2 == 0)
			list_del(node);
	}
	expect(&head, (int[]){1, 3}, 2);
	list_del(&items[0].node);
	assert_true(list_empty(&items[0].node));
	expect(&head, (int[]){1, 3}, 2);
}

static void splice__moves_all_and_empties_the_source(void **state)
{
	struct item a[2], b[2];
	struct list to, from;

	(void)state;
	fill(&to, a, 2);
	fill(&from, b, 2);
	list_splice_tail(&to, &from);
	expect(&to, (int[]){0, 1, 0, 1}, 4);
	assert_true(list_empty(&from));
	list_splice_tail(&to, &from);
	expect(&to, (int[]){0, 1, 0, 1}, 4);
	assert_null(list_pop(&from));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(order__tail_head_and_pop),
		cmocka_unit_test(removal__twice_and_while_walking__is_harmless),
		cmocka_unit_test(splice__moves_all_and_empties_the_source),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
