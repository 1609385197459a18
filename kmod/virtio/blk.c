// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio-blk on a file or block device.
 *
 * Owns:    struct blk and its requests.
 * Touches: the backend, as read(2), write(2), fsync(2) and fallocate(2) would.
 * Locks:   vq->lock for the lists, but for @done, which ends of transfers fill
 *          from any context.
 *
 * A request is tried at once, in the context that found it, in a way that does
 * not sleep for the transfer: from the page cache, by direct I/O, which goes on
 * alone, or, on a block device that is open for that, as a bio made of the
 * guest's pages. What would block is put on a list for lent threads, one request
 * for each at a time. Results are given back under the queue's lock, at once or by
 * whoever serves it next.
 *
 * Spec: VIRTIO 1.2, "Block Device".
 */
#include <linux/blkdev.h>
#include <linux/falloc.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/llist.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/slab.h>
#include <linux/task_io_accounting_ops.h>
#include <linux/uaccess.h>
#include <linux/virtio_blk.h>

#include "../vm.h"
#include "virtio.h"

struct blk {
	struct file *file;
	struct block_device *bdev;	/* NULL: a regular file */
	bool rdonly, direct;		/* bios for @bdev */
	u8 id[VIRTIO_BLK_ID_BYTES];
};

/* [q] vq->lock */
struct blk_queue {
	struct llist_head done;		/* any context */
	struct list_head deferred;	/* [q] */
	struct list_head spare[3];	/* [q] by room[], nr_spare of each */
	u16 nr_spare[3];
	bool busy;			/* somebody will look at @done */
};

/* Requests come in sizes, and some of each are kept: a new one costs as much as half its bio. */
static const struct {
	u16 room, keep;
} sizes[] = { { 4, 64 }, { 32, 32 }, { BIO_MAX_VECS, 4 }, { RL_RING_MAX_SEGS, 0 } };

struct blk_req {
	union {
		struct kiocb iocb;
		struct bio bio;		/* of pinned pages */
	};
	struct rl_vq *vq;
	struct rl_chain chain;
	u32 type;
	u64 sector, status_gpa;
	long result;			/* bytes, or -errno */
	u32 len;			/* of the data */
	u16 nr_segs;
	u8 size;			/* index of sizes[] */
	bool pages_fit;			/* into the vectors behind the segments */
	bool is_bio;			/* @bio is valid, not @iocb */
	union {
		struct llist_node done;
		struct list_head link;	/* deferred, spare */
	};
	struct rl_buf segs[];		/* of the data; behind them as many struct bio_vec */
};

#define BURST		128

static struct blk_queue *blk_queue(struct rl_vq *vq)
{
	return vq->priv;
}

/* Requests */

/* @room: for so many buffers and pages. */
static struct blk_req *req_alloc(struct rl_vq *vq, unsigned int room)
{
	struct blk_queue *bq = blk_queue(vq);
	struct blk_req *req;
	unsigned int n = 0;

	while (sizes[n].room < room)
		n++;
	if (sizes[n].keep && bq->nr_spare[n]) {
		bq->nr_spare[n]--;
		req = list_first_entry(&bq->spare[n], struct blk_req, link);
		list_del(&req->link);
		return req;
	}
	req = kvmalloc(struct_size(req, segs, sizes[n].room) +
		       sizes[n].room * sizeof(struct bio_vec), GFP_KERNEL_ACCOUNT);
	if (req) {
		req->vq = vq;
		req->size = n;
	}
	return req;
}

static void req_free(struct blk_req *req)
{
	struct blk_queue *bq = blk_queue(req->vq);

	if (!sizes[req->size].keep || bq->nr_spare[req->size] == sizes[req->size].keep) {
		kvfree(req);
		return;
	}
	list_add(&req->link, &bq->spare[req->size]);
	bq->nr_spare[req->size]++;
}

static u8 req_status(const struct blk_req *req)
{
	if (req->result == -EOPNOTSUPP)
		return VIRTIO_BLK_S_UNSUPP;
	if (req->result < 0)
		return VIRTIO_BLK_S_IOERR;
	/* A backend that became shorter. */
	return req->result == req->len ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR;
}

/*
 * This and get_header() move a byte and two words by single accesses. The general copies of
 * mm/guest.c also check the kernel's side of the copy, object by object; that would be some
 * 300 of the 14,200 instructions of a read.
 */
static int put_status(struct rl_vm *vm, gpa_t gpa, u8 status)
{
	const struct rl_memslot *slot;
	u8 __user *user = rl_guest_map(vm, gpa, 1, true, &slot);

	if (!user || __put_user(status, user))
		return -EFAULT;
	rl_slot_mark_dirty(slot, gpa >> PAGE_SHIFT);
	return 0;
}

/* The header, nearly always in one piece. */
static int get_header(struct rl_vq *vq, int nr_out, struct virtio_blk_outhdr *hdr)
{
	const struct rl_memslot *slot;
	u64 __user *user = NULL;

	if (vq->segs->len >= sizeof(*hdr))
		user = rl_guest_map(vq->dev->vm, vq->segs->gpa, sizeof(*hdr), false, &slot);
	if (!user)
		return rl_bufs_read(vq->dev->vm, vq->segs, nr_out, 0, hdr, sizeof(*hdr));
	if (__get_user(((u64 *)hdr)[0], user) || __get_user(((u64 *)hdr)[1], user + 1))
		return -EFAULT;
	return 0;
}

/* What the host read into its page cache meanwhile is not what was written. May sleep. */
static void drop_cached(const struct blk_req *req)
{
	const struct blk *blk = req->vq->dev->priv;
	struct address_space *cache = blk->file->f_mapping;
	loff_t pos = req->sector << SECTOR_SHIFT;

	if (req->type == VIRTIO_BLK_T_OUT && cache->nrpages)
		invalidate_inode_pages2_range(cache, pos >> PAGE_SHIFT,
					      (pos + req->len - 1) >> PAGE_SHIFT);
}

static void bio_unpin(struct bio *bio)
{
	bool dirty = bio_op(bio) == REQ_OP_READ;
	struct bio_vec *vec;

	for (vec = bio->bi_io_vec; vec < bio->bi_io_vec + bio->bi_vcnt; vec++)
		unpin_user_page_range_dirty_lock(vec->bv_page,
						 PFN_UP(vec->bv_offset + vec->bv_len), dirty);
	bio_uninit(bio);
}

/* Tell the guest. @vq->lock held. 0 or the ring's error. */
static int req_end(struct blk_req *req, bool dead)
{
	struct rl_vq *vq = req->vq;
	struct rl_vm *vm = vq->dev->vm;
	u8 status = req_status(req);
	u32 written = 0;
	int r = 0;

	if (req->is_bio) {
		bio_unpin(&req->bio);
		drop_cached(req);
	}
	if (req->type == VIRTIO_BLK_T_IN || req->type == VIRTIO_BLK_T_GET_ID) {
		written = req->result > 0 ? req->result : 0;
		rl_bufs_dirty(vm, req->segs, req->nr_segs, written);
		vq->stat.bytes_read += written;
	} else if (req->type == VIRTIO_BLK_T_OUT && req->result > 0) {
		vq->stat.bytes_written += req->result;
	}
	vq->stat.requests++;
	vq->stat.errors += status == VIRTIO_BLK_S_IOERR;
	if (!dead)
		r = put_status(vm, req->status_gpa, status) ?:
		    /* With an error, what is before it may not have been written: claim nothing. */
		    rl_ring_put(&vq->ring, &req->chain, status ? 0 : written + 1);
	vq->flying--;
	req_free(req);
	return r;
}

/* A transfer is over; any context. */
static void req_done(struct blk_req *req, long result)
{
	struct blk_queue *bq = blk_queue(req->vq);
	struct rl_vq *vq = req->vq;

	req->result = result;
	llist_add(&req->done, &bq->done);
	/* Pairs with blk_serve(): either it sees the request, or @busy is seen to be over. */
	smp_mb();
	if (!READ_ONCE(bq->busy))
		rl_vq_defer(vq);
}

static void req_complete(struct kiocb *iocb, long result)
{
	struct blk_req *req = container_of(iocb, struct blk_req, iocb);

	if (req->type == VIRTIO_BLK_T_OUT && S_ISREG(file_inode(iocb->ki_filp)->i_mode)) {
		/* For lockdep: begun by the submitter. */
		__sb_writers_acquired(file_inode(iocb->ki_filp)->i_sb, SB_FREEZE_WRITE);
		file_end_write(iocb->ki_filp);
	}
	req_done(req, result);
}

static void req_bio_end(struct bio *bio)
{
	struct blk_req *req = container_of(bio, struct blk_req, bio);
	long result = req->len;

	if (bio->bi_status)
		result = blk_status_to_errno(bio->bi_status);
	req_done(req, result);
}

/* One buffer's pages; those that lie in a row share a vector. 0, -EFAULT, -ENOMEM. */
static int bio_pin(struct bio *bio, unsigned long hva, u32 len, bool write)
{
	struct bio_vec *vec = NULL;
	struct page *pages[16];
	u32 part;
	int n, i;

	while (len) {
		n = min_t(int, PFN_UP(offset_in_page(hva) + (u64)len), ARRAY_SIZE(pages));
		n = pin_user_pages_fast(hva & PAGE_MASK, n, write ? FOLL_WRITE : 0, pages);
		if (n <= 0)
			return n ?: -EFAULT;
		for (i = 0; i < n; i++, hva += part, len -= part) {
			part = min_t(u32, len, PAGE_SIZE - offset_in_page(hva));
			/* A vector that goes on ends with its page. */
			if (vec && page_to_pfn(pages[i]) - page_to_pfn(vec->bv_page) ==
				   PHYS_PFN(vec->bv_offset + vec->bv_len)) {
				vec->bv_len += part;
				bio->bi_iter.bi_size += part;
			} else {
				vec = &bio->bi_io_vec[bio->bi_vcnt];
				__bio_add_page(bio, pages[i], part, offset_in_page(hva));
			}
		}
	}
	return 0;
}

/*
 * A bio for the device itself, of pages that are pinned until the guest is told. What
 * is to be coherent with the page cache, or does not fit the device's or a bio's
 * limits, is for req_transfer(): -EAGAIN.
 */
static long req_submit(struct blk_req *req)
{
	struct rl_vdev *dev = req->vq->dev;
	struct blk *blk = dev->priv;
	struct address_space *cache = blk->file->f_mapping;
	unsigned int mask = bdev_logical_block_size(blk->bdev) - 1, align;
	loff_t pos = req->sector << SECTOR_SHIFT;
	bool write = req->type == VIRTIO_BLK_T_OUT;
	const struct rl_memslot *slot;
	void __user *user;
	long r = -EAGAIN;
	u16 i;

	align = mask | bdev_dma_alignment(blk->bdev);
	if (!req->pages_fit || (pos | req->len) & mask ||
	    (write && (bdev_read_only(blk->bdev) || IS_SWAPFILE(cache->host))) ||
	    (cache->nrpages && filemap_range_has_page(cache, pos, pos + req->len - 1)))
		return r;
	bio_init(&req->bio, blk->bdev, (struct bio_vec *)(req->segs + sizes[req->size].room),
		 sizes[req->size].room, write ? REQ_OP_WRITE | REQ_SYNC | REQ_IDLE : REQ_OP_READ);
	/* A guest that cannot flush expects what was written to be safe. */
	if (write && !(dev->features & BIT_ULL(VIRTIO_BLK_F_FLUSH)))
		req->bio.bi_opf |= REQ_FUA;
	req->bio.bi_iter.bi_sector = req->sector;
	req->bio.bi_end_io = req_bio_end;
	for (i = 0; i < req->nr_segs; i++) {
		user = rl_guest_map(dev->vm, req->segs[i].gpa, req->segs[i].len, !write, &slot);
		if (!user || ((unsigned long)user | req->segs[i].len) & align)
			goto err_unpin;
		r = bio_pin(&req->bio, (unsigned long)user, req->segs[i].len, !write);
		if (r)
			goto err_unpin;
		r = -EAGAIN;
	}
	req->is_bio = true;
	if (write)
		task_io_account_write(req->len);
	submit_bio(&req->bio);
	return -EIOCBQUEUED;

err_unpin:
	bio_unpin(&req->bio);
	return r;
}

/* Read or write; -EIOCBQUEUED: it goes on alone, and @req may be gone. */
static long req_transfer(struct blk_req *req, struct iovec *iov, int flags, int without)
{
	struct blk *blk = req->vq->dev->priv;
	struct kiocb *iocb = &req->iocb;
	bool write = req->type == VIRTIO_BLK_T_OUT;
	bool reg = S_ISREG(file_inode(blk->file)->i_mode);
	struct iov_iter iter;
	long r;
	int nr;

	nr = rl_bufs_iov(req->vq->dev->vm, req->segs, req->nr_segs, !write, iov);
	if (nr < 0)
		return nr;
	iov_iter_init(&iter, write ? WRITE : READ, iov, nr, req->len);
	init_sync_kiocb(iocb, blk->file);
	iocb->ki_complete = req_complete;
	iocb->ki_pos = req->sector << SECTOR_SHIFT;
	iocb->ki_flags = (iocb->ki_flags | flags) & ~without;
	/* A guest that cannot flush expects what was written to be safe. */
	if (write && !(req->vq->dev->features & BIT_ULL(VIRTIO_BLK_F_FLUSH)))
		iocb->ki_flags |= IOCB_DSYNC;
	if (!write)
		return vfs_iocb_iter_read(blk->file, iocb, &iter);
	iocb->ki_flags |= IOCB_WRITE;
	if (reg) {
		/* A file system that is frozen may be so for long. */
		if (!(flags & IOCB_NOWAIT))
			file_start_write(blk->file);
		else if (!sb_start_write_trylock(file_inode(blk->file)->i_sb))
			return -EAGAIN;
		__sb_writers_release(file_inode(blk->file)->i_sb, SB_FREEZE_WRITE);
	}
	r = vfs_iocb_iter_write(blk->file, iocb, &iter);
	if (reg && r != -EIOCBQUEUED) {
		__sb_writers_acquired(file_inode(blk->file)->i_sb, SB_FREEZE_WRITE);
		file_end_write(blk->file);
	}
	return r;
}

/* Discard, or write zeroes. */
static long blk_zero(struct blk_req *req)
{
	struct rl_vdev *dev = req->vq->dev;
	struct blk *blk = dev->priv;
	struct virtio_blk_discard_write_zeroes range;
	u64 sector, nr;
	u32 off, flags;
	long r = 0;

	for (off = 0; off < req->len && !r; off += sizeof(range)) {
		if (rl_bufs_read(dev->vm, req->segs, req->nr_segs, off, &range, sizeof(range)))
			return -EIO;
		sector = le64_to_cpu(range.sector);
		nr = le32_to_cpu(range.num_sectors);
		flags = le32_to_cpu(range.flags);
		if (flags & ~VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP ||
		    (flags && req->type == VIRTIO_BLK_T_DISCARD))
			return -EOPNOTSUPP;
		if (sector > dev->blk_sectors || nr > dev->blk_sectors - sector)
			return -EIO;
		if (!nr)
			continue;
		if (req->type == VIRTIO_BLK_T_DISCARD && blk->bdev) {
			r = blkdev_issue_discard(blk->bdev, sector, nr, GFP_KERNEL);
		} else {
			int hole = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
			int zero = FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE;
			bool keep = req->type == VIRTIO_BLK_T_WRITE_ZEROES && !flags;

			/* Both read as zeroes after; a hole gives room back. */
			r = vfs_fallocate(blk->file, keep ? zero : hole, sector << SECTOR_SHIFT,
					  nr << SECTOR_SHIFT);
			if (r == -EOPNOTSUPP && keep)
				r = vfs_fallocate(blk->file, hole, sector << SECTOR_SHIFT,
						  nr << SECTOR_SHIFT);
		}
		/* To discard is a hint. */
		if (r == -EOPNOTSUPP && req->type == VIRTIO_BLK_T_DISCARD)
			r = 0;
	}
	return r ?: req->len;
}

/* One deferred request, in a thread that may sleep for it. */
static void req_work(struct blk_req *req, struct iovec *iov)
{
	struct blk *blk = req->vq->dev->priv;
	long r;

	switch (req->type) {
	case VIRTIO_BLK_T_FLUSH:
		r = vfs_fsync(blk->file, 1);
		break;
	case VIRTIO_BLK_T_DISCARD:
	case VIRTIO_BLK_T_WRITE_ZEROES:
		r = blk_zero(req);
		break;
	default:
		r = req_transfer(req, iov, 0, 0);
		/* Buffers that are not aligned as direct I/O wants them. */
		if (r == -EINVAL && blk->file->f_flags & O_DIRECT)
			r = req_transfer(req, iov, 0, IOCB_DIRECT);
	}
	if (r == -EIOCBQUEUED)
		return;
	req->result = r;
	llist_add(&req->done, &blk_queue(req->vq)->done);
}

static bool blk_work(struct rl_vq *vq, struct iovec *iov)
{
	struct blk_queue *bq = blk_queue(vq);
	struct blk_req *req;
	bool more;
	int idx;

	mutex_lock(&vq->lock);
	req = list_first_entry_or_null(&bq->deferred, struct blk_req, link);
	if (req)
		list_del(&req->link);
	more = !list_empty(&bq->deferred);
	rl_vq_unlock(vq);
	/* For another thread, if there is one. */
	if (more)
		rl_vq_defer(vq);
	if (!req)
		return false;
	rl_vdev_away(vq->dev);
	idx = srcu_read_lock(&vq->dev->vm->srcu);
	req_work(req, iov);
	srcu_read_unlock(&vq->dev->vm->srcu, idx);
	rl_vdev_back(vq->dev);
	return true;
}

static int req_defer(struct blk_req *req)
{
	list_add_tail(&req->link, &blk_queue(req->vq)->deferred);
	req->vq->stat.deferred++;
	rl_vq_defer(req->vq);
	return 0;
}

static int req_fail(struct blk_req *req, long result)
{
	req->result = result;
	return req_end(req, false);
}

/* Where the data is, and whether all of it may be done at all. */
static int req_check(struct blk_req *req, u32 in_len, u32 out_len)
{
	struct rl_vdev *dev = req->vq->dev;
	struct blk *blk = dev->priv;

	switch (req->type) {
	case VIRTIO_BLK_T_IN:
		req->len = in_len;
		break;
	case VIRTIO_BLK_T_OUT:
		req->len = out_len;
		if (blk->rdonly)
			return -EIO;
		break;
	case VIRTIO_BLK_T_DISCARD:
	case VIRTIO_BLK_T_WRITE_ZEROES:
		req->len = out_len;
		if (blk->rdonly || !req->len ||
		    req->len % sizeof(struct virtio_blk_discard_write_zeroes) ||
		    /* Nothing ends a request before its time, not even SIGKILL. */
		    req->len / sizeof(struct virtio_blk_discard_write_zeroes) >
		    RINGLET_BLK_MAX_RANGES)
			return -EIO;
		return 0;
	case VIRTIO_BLK_T_GET_ID:
		req->len = min_t(u32, in_len, VIRTIO_BLK_ID_BYTES);
		return 0;
	case VIRTIO_BLK_T_FLUSH:
		req->len = 0;
		return 0;
	default:
		return -EOPNOTSUPP;
	}
	if (req->len & (SECTOR_SIZE - 1) || req->len > MAX_RW_COUNT ||
	    req->sector > dev->blk_sectors ||
	    req->len >> SECTOR_SHIFT > dev->blk_sectors - req->sector)
		return -EIO;
	return 0;
}

/* Now, or not at all. */
static int req_start(struct blk_req *req)
{
	struct blk *blk = req->vq->dev->priv;
	long r = -EAGAIN;

	switch (req->type) {
	case VIRTIO_BLK_T_GET_ID:
		r = rl_bufs_write(req->vq->dev->vm, req->segs, req->nr_segs, 0, blk->id, req->len);
		return r ?: req_fail(req, req->len);
	case VIRTIO_BLK_T_IN:
	case VIRTIO_BLK_T_OUT:
		break;
	default:
		return req_defer(req);
	}
	if (!req->len)
		return req_fail(req, 0);
	/*
	 * A block device that is written to directly takes it without waiting,
	 * but for a full queue: that is back-pressure where it belongs. To ask
	 * it not to wait is not understood by all of them.
	 */
	if (blk->direct)
		r = req_submit(req);
	else if (!(blk->file->f_mode & FMODE_NOWAIT))
		return req_defer(req);
	if (r == -EAGAIN)
		r = req_transfer(req, req->vq->iov, blk->direct ? 0 : IOCB_NOWAIT, 0);
	if (r == -EIOCBQUEUED)
		return 0;
	if (r == -EFAULT)
		/* No slot, or no memory of the owner's: not for a second try. */
		return req_fail(req, r);
	if (r < 0 || (!blk->direct && r != req->len))
		return req_defer(req);
	return req_fail(req, r);
}

/* Make a request of a chain: header, data, status. @vq->segs: its buffers. 0 or -errno. */
static int blk_request(struct rl_vq *vq, const struct rl_chain *c)
{
	struct rl_buf *segs = vq->segs, *last = segs + c->nr_out + c->nr_in - 1;
	struct blk *blk = vq->dev->priv;
	struct virtio_blk_outhdr hdr;
	struct blk_req *req;
	u32 skip = sizeof(hdr), n, pages = 0;
	int r, i, first = 0;

	/* The device has nowhere to put its answer: the driver is out of its mind. */
	if (!c->in_len || c->out_len < sizeof(hdr))
		return -EINVAL;
	r = get_header(vq, c->nr_out, &hdr);
	if (r)
		return r;
	for (i = 0; blk->direct && i < c->nr_out + c->nr_in; i++)
		pages += PFN_UP(offset_in_page(segs[i].gpa) + (u64)segs[i].len);
	pages = pages <= BIO_MAX_VECS ? pages : 0;
	req = req_alloc(vq, pages ?: c->nr_out + c->nr_in);
	if (!req)
		return -ENOMEM;
	vq->flying++;
	req->chain = *c;
	req->type = le32_to_cpu((__force __le32)hdr.type);
	req->sector = le64_to_cpu((__force __le64)hdr.sector);
	req->status_gpa = last->gpa + last->len - 1;
	last->len--;

	/* Data: behind the header what is read, or before the status what is written. */
	if (req->type == VIRTIO_BLK_T_IN || req->type == VIRTIO_BLK_T_GET_ID) {
		first = c->nr_out;
		skip = 0;
	}
	req->nr_segs = 0;
	req->pages_fit = pages;
	req->is_bio = false;
	for (i = first; i < (first ? c->nr_out + c->nr_in : c->nr_out); i++) {
		n = min(skip, segs[i].len);
		skip -= n;
		if (n == segs[i].len)
			continue;
		req->segs[req->nr_segs].gpa = segs[i].gpa + n;
		req->segs[req->nr_segs++].len = segs[i].len - n;
	}
	r = req_check(req, c->in_len - 1, c->out_len - sizeof(hdr));
	return r ? req_fail(req, r) : req_start(req);
}

/* Direct I/O found out on its way that it had to wait. */
static bool req_would_block(const struct blk_req *req)
{
	return (req->type == VIRTIO_BLK_T_IN || req->type == VIRTIO_BLK_T_OUT) &&
	       !req->is_bio && req->iocb.ki_flags & IOCB_NOWAIT &&
	       (req->result == -EAGAIN || req->result == -EOPNOTSUPP);
}

static int blk_reap(struct rl_vq *vq, bool dead)
{
	struct blk_queue *bq = blk_queue(vq);
	struct llist_node *done = llist_del_all(&bq->done);
	struct blk_req *req, *next;
	int r = 0;

	llist_for_each_entry_safe(req, next, llist_reverse_order(done), done) {
		if (!dead && req_would_block(req))
			req_defer(req);
		else
			r = req_end(req, dead || r) ?: r;
	}
	if (!dead)
		return r ?: rl_vq_flush(vq);
	/* Nobody will carry these out any more. */
	list_for_each_entry_safe(req, next, &bq->deferred, link) {
		list_del(&req->link);
		req->result = -EIO;
		req_end(req, true);
	}
	return 0;
}

static int blk_serve(struct rl_vq *vq)
{
	struct blk_queue *bq = blk_queue(vq);
	struct blk_plug plug;
	struct rl_chain c;
	int r, n = 0;

	WRITE_ONCE(bq->busy, true);
	blk_start_plug(&plug);
	do {
		r = rl_ring_disable_notify(&vq->ring);
		while (!r) {
			r = rl_ring_get(&vq->ring, &c, vq->segs, RL_RING_MAX_SEGS);
			if (r <= 0)
				break;
			r = blk_request(vq, &c);
			if (!r && ++n == BURST)
				r = 1;
		}
		if (!r)
			r = rl_ring_enable_notify(&vq->ring);
	} while (r > 0 && n < BURST);
	blk_finish_plug(&plug);
	WRITE_ONCE(bq->busy, false);
	/* Pairs with req_done(). */
	smp_mb();
	if (r < 0)
		return r;
	return blk_reap(vq, false) ?: r;
}

/* The device */

static void blk_destroy(struct rl_vdev *dev)
{
	struct blk *blk = dev->priv;
	struct blk_req *req, *next;
	struct blk_queue *bq;
	unsigned int n, i;

	for (n = 0; n < dev->nr_queues; n++) {
		bq = blk_queue(&dev->vq[n]);
		for (i = 0; bq && i < ARRAY_SIZE(bq->spare); i++)
			list_for_each_entry_safe(req, next, &bq->spare[i], link)
				kvfree(req);
		kfree(bq);
	}
	fput(blk->file);
	kfree(blk);
}

static int blk_open(struct blk *blk, int fd)
{
	fmode_t need = FMODE_READ | (blk->rdonly ? 0 : FMODE_WRITE);
	umode_t mode;

	blk->file = fget(fd);
	if (!blk->file)
		return -EBADF;
	mode = file_inode(blk->file)->i_mode;
	if (S_ISBLK(mode))
		blk->bdev = I_BDEV(blk->file->f_mapping->host);
	blk->direct = blk->bdev && blk->file->f_flags & O_DIRECT;
	if ((blk->file->f_mode & need) != need)
		return -EBADF;
	/* O_APPEND: every write would go to the end. */
	if ((!S_ISREG(mode) && !blk->bdev) || blk->file->f_flags & O_APPEND ||
	    !blk->file->f_op->read_iter || (!blk->rdonly && !blk->file->f_op->write_iter))
		return -EINVAL;
	return 0;
}

static int blk_create(struct rl_vdev *dev, const struct ringlet_create_device *args)
{
	struct blk_queue *bq;
	struct blk *blk;
	unsigned int n, i;
	int r;

	if (args->flags & ~RINGLET_BLK_RDONLY || args->nr_backends != 1 ||
	    args->blk_sectors > LLONG_MAX >> SECTOR_SHIFT)
		return -EINVAL;
	blk = kzalloc(sizeof(*blk), GFP_KERNEL_ACCOUNT);
	if (!blk)
		return -ENOMEM;
	dev->priv = blk;
	blk->rdonly = args->flags & RINGLET_BLK_RDONLY;
	memcpy(blk->id, args->blk_id, sizeof(blk->id));
	r = blk_open(blk, args->backend[0]);
	if (r) {
		if (blk->file)
			fput(blk->file);
		kfree(blk);
		return r;
	}
	dev->blk_sectors = args->blk_sectors ?:
			   i_size_read(blk->file->f_mapping->host) >> SECTOR_SHIFT;
	for (n = 0; n < dev->nr_queues; n++) {
		bq = kzalloc(sizeof(*bq), GFP_KERNEL_ACCOUNT);
		if (!bq) {
			blk_destroy(dev);
			return -ENOMEM;
		}
		init_llist_head(&bq->done);
		INIT_LIST_HEAD(&bq->deferred);
		for (i = 0; i < ARRAY_SIZE(bq->spare); i++)
			INIT_LIST_HEAD(&bq->spare[i]);
		dev->vq[n].priv = bq;
	}
	return 0;
}

const struct rl_vdev_ops rl_blk_ops = {
	.features = RL_VIRTIO_FEATURES | BIT_ULL(VIRTIO_BLK_F_SIZE_MAX) |
		    BIT_ULL(VIRTIO_BLK_F_SEG_MAX) | BIT_ULL(VIRTIO_BLK_F_GEOMETRY) |
		    BIT_ULL(VIRTIO_BLK_F_RO) | BIT_ULL(VIRTIO_BLK_F_BLK_SIZE) |
		    BIT_ULL(VIRTIO_BLK_F_TOPOLOGY) | BIT_ULL(VIRTIO_BLK_F_FLUSH) |
		    BIT_ULL(VIRTIO_BLK_F_MQ) | BIT_ULL(VIRTIO_BLK_F_DISCARD) |
		    BIT_ULL(VIRTIO_BLK_F_WRITE_ZEROES),
	.create = blk_create,
	.destroy = blk_destroy,
	.serve = blk_serve,
	.work = blk_work,
	.reap = blk_reap,
};
