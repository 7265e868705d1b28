/** Loads sharp on first use, so that programs without image files never start libvips. */
export async function loadSharp(): Promise<typeof import('sharp')> {
  return (await import('sharp')).default;
}
