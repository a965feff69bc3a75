//! btrfs: what its ioctls tell of subvolumes and inodes.
