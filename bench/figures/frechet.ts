// The Fréchet distance between Gaussians, and what is needed of sets of feature vectors for it.
import { EigenvalueDecomposition, Matrix } from 'ml-matrix';

/** Mean [d] and covariance [d, d] of feature vectors. */
export interface Moments {
  mean: number[];
  covariance: Matrix;
}

/** Moments of rows [n, d] (n at least 2); `keep` says which rows count. */
export function momentsOf(rows: Float32Array, d: number, keep: (row: number) => boolean = () => true): Moments {
  const mean = new Array<number>(d).fill(0);
  const products = Matrix.zeros(d, d);
  const kept: number[] = [];
  for (let row = 0; row < rows.length / d; row++) if (keep(row)) kept.push(row);
  for (const row of kept) for (let i = 0; i < d; i++) mean[i] = (mean[i] as number) + (rows[row * d + i] as number);
  for (let i = 0; i < d; i++) mean[i] = (mean[i] as number) / kept.length;
  const centred = new Float64Array(d);
  for (const row of kept) {
    for (let i = 0; i < d; i++) centred[i] = (rows[row * d + i] as number) - (mean[i] as number);
    for (let i = 0; i < d; i++)
      for (let j = 0; j <= i; j++) products.set(i, j, products.get(i, j) + (centred[i] as number) * (centred[j] as number));
  }
  const covariance = Matrix.zeros(d, d);
  for (let i = 0; i < d; i++)
    for (let j = 0; j < d; j++) covariance.set(i, j, products.get(Math.max(i, j), Math.min(i, j)) / (kept.length - 1));
  return { mean, covariance };
}

/** The distance to one Gaussian, whose square root is computed once. */
export class FrechetReference {
  readonly #moments: Moments;
  readonly #root: Matrix;

  constructor(moments: Moments) {
    this.#moments = moments;
    const { eigenvectorMatrix: vectors, realEigenvalues } = decompose(moments.covariance);
    const roots = Matrix.diag(realEigenvalues.map((value) => Math.sqrt(Math.max(value, 0))));
    this.#root = vectors.mmul(roots).mmul(vectors.transpose());
  }

  /**
   * |μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2·(Σ₁^½·Σ₂·Σ₁^½)^½), the squared 2-Wasserstein distance between the two Gaussians (Dowson & Landau
   * 1982), which Heusel et al. 2017 (arXiv 1706.08500) took of features of Inception.
   */
  distance({ mean, covariance }: Moments): number {
    const product = this.#root.mmul(covariance).mmul(this.#root);
    const symmetric = Matrix.add(product, product.transpose()).mul(0.5);
    const cross = decompose(symmetric).realEigenvalues.reduce((sum, value) => sum + Math.sqrt(Math.max(value, 0)), 0);
    const shift = mean.reduce((sum, value, i) => sum + (value - (this.#moments.mean[i] as number)) ** 2, 0);
    return Math.max(0, shift + this.#moments.covariance.trace() + covariance.trace() - 2 * cross);
  }
}

/**
 * A linear map of rows [n, d] after which vectors of these moments have covariance 1: a distance then no longer depends on how large
 * the features are, and is not that of a few large ones.
 */
export function whitening({ covariance }: Moments): (rows: Float32Array) => Float32Array {
  const d = covariance.rows;
  const { eigenvectorMatrix: vectors, realEigenvalues } = decompose(covariance);
  const smallest = Math.max(...realEigenvalues) * 1e-9;
  const scales = Matrix.diag(realEigenvalues.map((value) => 1 / Math.sqrt(Math.max(value, smallest))));
  const map = vectors.mmul(scales).to2DArray();
  return (rows) => {
    const mapped = new Float32Array(rows.length);
    for (let start = 0; start < rows.length; start += d)
      for (let i = 0; i < d; i++) {
        const value = rows[start + i] as number;
        const weights = map[i] as number[];
        for (let j = 0; j < d; j++) mapped[start + j] = (mapped[start + j] as number) + value * (weights[j] as number);
      }
    return mapped;
  };
}

const decompose = (symmetric: Matrix) => new EigenvalueDecomposition(symmetric, { assumeSymmetric: true });
