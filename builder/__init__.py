"""diskless: build, boot, deploy and publish images for machines without disks."""
