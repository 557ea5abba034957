# SPDX-License-Identifier: GPL-2.0-or-later
"""include/linux/list.h and llist.h: the doubly linked list and the lock-less single one.

A list's links are ``private``: every list of this kernel has one holder at a time (interrupts off, a lock, NAPI
ownership), so only the holder's rule is checked, by the corruption tests of lib/list_debug.c, which are BUG_ONs here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import Struct, kfunc, private, shared

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *


class list_head(Struct):
    """include/linux/types.h: a list's head or a node on it."""

    next: list_head = private()
    prev: list_head = private()


class llist_node(Struct):
    """include/linux/llist.h: a node of a lock-less list."""

    next: llist_node = private()


class llist_head(Struct):
    """include/linux/llist.h: the head of a lock-less list, pushed to by any CPU."""

    first: llist_node = shared()


@kfunc
def INIT_LIST_HEAD(list: list_head) -> None:
    """include/linux/list.h: an empty list points at itself."""
    list.next = list
    list.prev = list


@kfunc
def __list_add(new: list_head, prev: list_head, next: list_head) -> None:
    """include/linux/list.h; the three tests are lib/list_debug.c's __list_add_valid()."""
    BUG_ON(next.prev != prev)
    BUG_ON(prev.next != next)
    BUG_ON(new == prev or new == next)
    next.prev = new
    new.next = next
    new.prev = prev
    prev.next = new


@kfunc
def list_add(new: list_head, head: list_head) -> None:
    """include/linux/list.h: after the head."""
    __list_add(new, head, head.next)


@kfunc
def list_add_tail(new: list_head, head: list_head) -> None:
    """include/linux/list.h: before the head."""
    __list_add(new, head.prev, head)


@kfunc
def __list_del_entry(entry: list_head) -> None:
    """include/linux/list.h; the two tests are lib/list_debug.c's __list_del_entry_valid()."""
    prev = entry.prev
    next = entry.next
    BUG_ON(prev.next != entry)
    BUG_ON(next.prev != entry)
    next.prev = prev
    prev.next = next


@kfunc
def list_del_init(entry: list_head) -> None:
    """include/linux/list.h: unlink, and leave the node an empty list."""
    __list_del_entry(entry)
    INIT_LIST_HEAD(entry)


@kfunc
def list_empty(head: list_head) -> bool:
    """include/linux/list.h."""
    return head.next == head


@kfunc
def __list_splice(list: list_head, prev: list_head, next: list_head) -> None:
    """include/linux/list.h."""
    first = list.next
    last = list.prev
    first.prev = prev
    prev.next = first
    last.next = next
    next.prev = last


@kfunc
def list_splice(list: list_head, head: list_head) -> None:
    """include/linux/list.h: join in front; ``list`` is not reinitialised."""
    if not list_empty(list):
        __list_splice(list, head, head.next)


@kfunc
def list_splice_tail(list: list_head, head: list_head) -> None:
    """include/linux/list.h: join behind; ``list`` is not reinitialised."""
    if not list_empty(list):
        __list_splice(list, head.prev, head)


@kfunc
def list_splice_init(list: list_head, head: list_head) -> None:
    """include/linux/list.h."""
    if not list_empty(list):
        __list_splice(list, head, head.next)
        INIT_LIST_HEAD(list)


@kfunc
def list_splice_tail_init(list: list_head, head: list_head) -> None:
    """include/linux/list.h."""
    if not list_empty(list):
        __list_splice(list, head.prev, head)
        INIT_LIST_HEAD(list)


@kfunc
def llist_add(new: llist_node, head: llist_head) -> bool:
    """include/linux/llist.h, lib/llist.c llist_add_batch(): push; whether the list was empty before."""
    while True:
        first = READ_ONCE(head.first)
        new.next = first
        if cmpxchg(head.first, first, new) == first:
            return not first


@kfunc
def llist_empty(head: llist_head) -> bool:
    """include/linux/llist.h."""
    return not READ_ONCE(head.first)


@kfunc
def llist_del_all(head: llist_head) -> llist_node:
    """include/linux/llist.h: take the whole list, newest first."""
    return xchg(head.first, None)


@kfunc
def llist_reverse_order(head: llist_node) -> llist_node:
    """lib/llist.c: oldest first."""
    new_head: llist_node = None
    while head:
        tmp = head
        head = head.next
        tmp.next = new_head
        new_head = tmp
    return new_head
