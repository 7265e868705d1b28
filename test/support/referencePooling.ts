/** Pooling in float64, written plainly. Images are NHWC. */

export interface Pooling {
  shape: readonly [n: number, h: number, w: number, c: number];
  kernel: readonly [number, number];
  stride: readonly [number, number];
  padding: readonly [top: number, left: number, bottom: number, right: number];
}

export function pooledShape({ shape: [n, h, w, c], kernel, stride, padding }: Pooling): [number, number, number, number] {
  const size = (length: number, axis: 0 | 1) =>
    Math.floor((length + padding[axis] + padding[(axis + 2) as 2 | 3] - kernel[axis]) / stride[axis]) + 1;
  return [n, size(h, 0), size(w, 1), c];
}

/** `reduce` of the values of every window that lie inside the image, row by row. */
export function pool(x: ArrayLike<number>, of: Pooling, reduce: (values: number[]) => number): Float64Array {
  const { shape, kernel, stride, padding } = of;
  const [, h, w] = shape;
  const [n, oh, ow, c] = pooledShape(of);
  return Float64Array.from({ length: n * oh * ow * c }, (_, i) => {
    const [image, row, column] = [Math.floor(i / (oh * ow * c)), Math.floor(i / (ow * c)) % oh, Math.floor(i / c) % ow];
    const values: number[] = [];
    for (let r = 0; r < kernel[0]; r++)
      for (let s = 0; s < kernel[1]; s++) {
        const [a, b] = [row * stride[0] + r - padding[0], column * stride[1] + s - padding[1]];
        if (a >= 0 && a < h && b >= 0 && b < w) values.push(x[((image * h + a) * w + b) * c + (i % c)] as number);
      }
    return reduce(values);
  });
}

export const mean = (values: number[], count = values.length): number => values.reduce((sum, value) => sum + value, 0) / count;
