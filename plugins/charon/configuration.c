/* SPDX-License-Identifier: GPL-2.0-or-later
 * Not on the bridge's thread, nor on one that installs SAs: a backend's lock may be held by a thread that waits for an
 * answer of the node.
 */
#include "configuration.h"

#include <collections/array.h>
#include <daemon.h>
#include <processing/jobs/callback_job.h>

#define LOOK_S 1
#define CHILDREN_PER_MESSAGE 32			/* well below the largest message, whatever they propose */

typedef Testudo__Bridge__Child child_t;
typedef Testudo__Bridge__Proposal proposal_message_t;
typedef Testudo__Bridge__Transform transform_message_t;

typedef struct {
	bridge_t *bridge;
	uint32_t connection;				/* to which `told` was told */
	chunk_t told;
} watch_t;

/* Appends to one of protobuf-c's arrays of pointers. */
#define append(array, count, item) ({ \
	(array) = realloc((array), ((count) + 1) * sizeof(*(array))); \
	(array)[(count)++] = (item); \
})

static void add_transforms(proposal_message_t *out, proposal_t *proposal, transform_type_t type)
{
	enumerator_t *enumerator = proposal->create_enumerator(proposal, type);
	transform_message_t *transform;
	uint16_t number, key_bits;

	while (enumerator->enumerate(enumerator, &number, &key_bits))
	{
		transform = malloc_thing(transform_message_t);
		testudo__bridge__transform__init(transform);
		transform->type = type;
		transform->number = number;
		transform->key_bits = key_bits;
		append(out->transforms, out->n_transforms, transform);
	}
	enumerator->destroy(enumerator);
}

static void add_proposals(child_t *out, child_cfg_t *child)
{
	linked_list_t *proposals = child->get_proposals(child, FALSE);
	enumerator_t *enumerator = proposals->create_enumerator(proposals);
	proposal_message_t *message;
	proposal_t *proposal;

	while (enumerator->enumerate(enumerator, &proposal))
	{
		message = malloc_thing(proposal_message_t);
		testudo__bridge__proposal__init(message);
		message->protocol = proposal->get_protocol(proposal) == PROTO_AH ? IPPROTO_AH : IPPROTO_ESP;
		add_transforms(message, proposal, ENCRYPTION_ALGORITHM);
		add_transforms(message, proposal, INTEGRITY_ALGORITHM);
		append(out->proposals, out->n_proposals, message);
	}
	enumerator->destroy(enumerator);
	proposals->destroy_offset(proposals, offsetof(proposal_t, destroy));
}

static child_t *child_message(peer_cfg_t *peer, child_cfg_t *child)
{
	child_t *message = malloc_thing(child_t);

	testudo__bridge__child__init(message);
	message->connection = strdup(peer->get_name(peer));
	message->name = strdup(child->get_name(child));
	message->mode = child->get_mode(child);
	message->ipcomp = child->has_option(child, OPT_IPCOMP);
	message->sha256_96 = child->has_option(child, OPT_SHA256_96);
	add_proposals(message, child);
	return message;
}

/* Children that make no SA (mode = pass or drop) are left out. */
static Testudo__Bridge__Configuration *read_configuration(void)
{
	Testudo__Bridge__Configuration *all = malloc_thing(Testudo__Bridge__Configuration);
	enumerator_t *peers, *children;
	peer_cfg_t *peer;
	child_cfg_t *child;

	testudo__bridge__configuration__init(all);
	peers = charon->backends->create_peer_cfg_enumerator(charon->backends, NULL, NULL, NULL, NULL, IKE_ANY);
	while (peers->enumerate(peers, &peer))
	{
		children = peer->create_child_cfg_enumerator(peer);
		while (children->enumerate(children, &child))
		{
			if (child->get_mode(child) != MODE_PASS && child->get_mode(child) != MODE_DROP)
			{
				append(all->children, all->n_children, child_message(peer, child));
			}
		}
		children->destroy(children);
	}
	peers->destroy(peers);
	return all;
}

/* In parts, of which all but the last say that more follows. */
static bool tell(bridge_t *bridge, Testudo__Bridge__Configuration *all)
{
	Testudo__Bridge__ToNode message = TESTUDO__BRIDGE__TO_NODE__INIT;
	Testudo__Bridge__Configuration part = TESTUDO__BRIDGE__CONFIGURATION__INIT;
	size_t from = 0;

	message.message_case = TESTUDO__BRIDGE__TO_NODE__MESSAGE_CONFIGURATION;
	message.configuration = &part;
	do
	{
		part.children = all->children + from;
		part.n_children = min(all->n_children - from, CHILDREN_PER_MESSAGE);
		from += part.n_children;
		part.more = from < all->n_children;
		if (bridge->order(bridge, &message, "carry out the configuration") != SUCCESS)
		{
			return FALSE;
		}
	}
	while (part.more);
	return TRUE;
}

static chunk_t pack(const Testudo__Bridge__Configuration *all)
{
	chunk_t packed = chunk_alloc(testudo__bridge__configuration__get_packed_size(all));

	testudo__bridge__configuration__pack(all, packed.ptr);
	return packed;
}

static job_requeue_t look(watch_t *this)
{
	uint32_t connection = this->bridge->connection(this->bridge);
	Testudo__Bridge__Configuration *all;
	chunk_t packed;

	if (!connection)
	{
		return JOB_RESCHEDULE(LOOK_S);
	}
	all = read_configuration();
	packed = pack(all);
	if (connection != this->connection || !chunk_equals(packed, this->told))
	{
		/* told even when the node refuses it: it has said what is wrong, which is in the log */
		tell(this->bridge, all);
		this->connection = connection;
		chunk_free(&this->told);
		this->told = packed;
	}
	else
	{
		chunk_free(&packed);
	}
	testudo__bridge__configuration__free_unpacked(all, NULL);
	return JOB_RESCHEDULE(LOOK_S);
}

static void destroy_watch(watch_t *this)
{
	chunk_free(&this->told);
	free(this);
}

void configuration_watch(bridge_t *bridge)
{
	watch_t *this;

	INIT(this,
		.bridge = bridge,
	);
	lib->processor->queue_job(lib->processor, (job_t*)callback_job_create((callback_job_cb_t)look, this,
						(callback_job_cleanup_t)destroy_watch, (callback_job_cancel_t)return_false));
}
